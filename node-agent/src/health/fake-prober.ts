import { ContainerHealth, ProbeType } from '@gantry/proto';
import type { Condition, Prober, Probes, ProbeTarget } from './prober.ts';

/** A prober for tests: conditions change when the test says so. */
export class FakeProber implements Prober {
  readonly watched = new Map<string, { probes: Probes; target: ProbeTarget; condition: Condition }>();
  readonly #listeners = new Set<(id: string, condition: Condition) => void>();

  watch(id: string, probes: Probes, target: ProbeTarget, found?: Condition): Condition {
    const probed = (probe: Probes['health']) => probe !== null && probe.type !== ProbeType.none;
    const health = probed(probes.health) ? ContainerHealth.starting_up : ContainerHealth.none;
    const condition = found ?? { health, ready: !probed(probes.health) && !probed(probes.readiness), reason: '' };
    this.watched.set(id, { probes, target, condition });
    return condition;
  }

  /** Makes a watched container's condition this one and tells listeners. */
  set(id: string, condition: Condition): void {
    const watch = this.watched.get(id);
    if (!watch) return;
    watch.condition = condition;
    for (const listener of this.#listeners) listener(id, condition);
  }

  unwatch(id: string): void {
    this.watched.delete(id);
  }

  condition(id: string): Condition | undefined {
    return this.watched.get(id)?.condition;
  }

  onChange(listener: (id: string, condition: Condition) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.watched.clear();
    this.#listeners.clear();
  }
}
