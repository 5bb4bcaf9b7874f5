import { RolloutState, type ServiceView } from '@gantry/proto';
import { type FollowOptions, Outcome } from '../follow.ts';
import { say, terminalWidth } from './output.ts';
import { nameOf, plain, errorStyle as style } from './style.ts';
import { cutText, textWidth } from './table.ts';

const barWidth = 20;

/** What a wait shows on standard error: bars redrawn in place on a terminal, else a line when a service changes. */
class Progress {
  readonly #live = process.stderr.isTTY;
  #drawn = 0;
  readonly #said = new Map<string, string>();

  show(services: readonly ServiceView[]): void {
    if (this.#live) this.#draw(services);
    else this.#say(services);
  }

  #draw(services: readonly ServiceView[]): void {
    const names = services.map(nameText);
    const width = Math.max(0, ...names.map(textWidth));
    // what scrolls or wraps cannot be drawn over
    const mostLines = Math.max(2, (process.stderr.rows || 24) - 1);
    const mostColumns = terminalWidth(process.stderr) - 1;
    const all = services.map((view, index) => `${bar(view)} ${names[index]!.padEnd(width)}  ${stateLine(view)}`);
    const lines = all.length > mostLines ? [...all.slice(0, mostLines - 1), `and ${all.length - mostLines + 1} more`] : all;
    const up = this.#drawn > 0 ? `\u001b[${this.#drawn}A` : '';
    process.stderr.write(`${up}\u001b[J${lines.map((line) => `${cutText(line, mostColumns)}\n`).join('')}`);
    this.#drawn = lines.length;
  }

  #say(services: readonly ServiceView[]): void {
    for (const view of services) {
      const line = `${nameText(view)}  ${stateLine(view)}`;
      if (this.#said.get(nameText(view)) === line) continue;
      this.#said.set(nameText(view), line);
      say(line);
    }
  }
}

function nameText(view: ServiceView): string {
  return `${view.service?.key?.app ?? ''}/${view.service?.key?.service ?? ''}`;
}

function bar({ ready, desired, containers, service }: ServiceView): string {
  if (service?.deletedAt) return style.dim('░'.repeat(barWidth));
  const share = desired > 0 ? Math.min(ready, desired) / desired : containers === 0 ? 1 : 0;
  const filled = Math.round(barWidth * share);
  return `${style.green('█'.repeat(filled))}${style.dim('░'.repeat(barWidth - filled))}`;
}

function stateLine(view: ServiceView): string {
  if (view.service?.deletedAt) return `removing, ${view.containers} left`;
  const parts = [`${view.ready}/${view.desired} ready`];
  const state = view.rollout?.state ?? RolloutState.idle;
  if (state !== RolloutState.idle && state !== RolloutState.completed) {
    parts.push(nameOf(RolloutState, state).replace('_', ' '));
    if (view.updated < view.desired) parts.push(`${view.updated} updated`);
    if (view.rollout?.reason) parts.push(plain(view.rollout.reason));
  }
  if (view.failed > 0) parts.push(`${view.failed} failed`);
  if (view.refusal && view.pending > 0) parts.push(`${view.pending} without a place`);
  return parts.join(', ');
}

/** Options for a wait that shows its progress. */
export function shown(options: Pick<FollowOptions, 'timeoutMs' | 'signal'>): FollowOptions {
  const progress = new Progress();
  return { ...options, onProgress: (services) => progress.show(services) };
}

/** Exit codes: 0 done · 1 error · 2 rolled back · 3 not placed · 4 deadline; 130 when Ctrl-C ended the wait. */
export const exitCodes: Readonly<Record<Outcome, number>> = {
  [Outcome.done]: 0,
  [Outcome.paused]: 1,
  [Outcome.failed]: 1,
  [Outcome.rolledBack]: 2,
  [Outcome.notPlaced]: 3,
  [Outcome.deadline]: 4,
  [Outcome.detached]: 130,
};
