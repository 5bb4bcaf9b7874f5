import { type Taint, TaintEffect } from '@gantry/proto';

const effectNames: ReadonlyMap<string, TaintEffect> = new Map(Object.entries(TaintEffect));

/** Whether "key", "key=value" or "key=value:effect" stands the taint. The effect may be written with - or _. */
function tolerates(toleration: string, taint: Taint): boolean {
  const [selector = '', effect] = toleration.split(':');
  const [key = '', value] = selector.split('=');
  if (effect !== undefined && effectNames.get(effect.replaceAll('-', '_')) !== taint.effect) return false;
  return key === taint.key && (value === undefined || value === taint.value);
}

/** The first taint with one of the effects that no toleration stands. */
export function untolerated(taints: readonly Taint[], tolerations: readonly string[], effects: readonly TaintEffect[]): Taint | undefined {
  return taints.find((taint) => effects.includes(taint.effect) && !tolerations.some((toleration) => tolerates(toleration, taint)));
}

/** "key=value". */
export function formatTaint(taint: Taint): string {
  return taint.value === '' ? taint.key : `${taint.key}=${taint.value}`;
}
