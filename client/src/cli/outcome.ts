import { ContainerState, type ServiceView } from '@gantry/proto';
import { type Followed, isSettled, Outcome } from '../follow.ts';
import type { GantryClient } from '../gantry-client.ts';
import { fetchContainers } from './containers.ts';
import { say, write } from './output.ts';
import { exitCodes } from './progress.ts';
import { refusalLines } from './refusal.ts';
import { nameOf, style as outStyle, plain, errorStyle as style } from './style.ts';
import { keyText } from './target.ts';

/** Most containers of which a failed wait tells the state. */
const mostTold = 10;

export interface Subject {
  /** "demo" or "demo/web": what was waited for, and what to look at again. */
  name: string;
  app: string;
  /** What a successful wait says behind the name. */
  done: string;
}

/** Says how a wait ended and what to do next; returns the exit code. */
export async function reportOutcome(client: GantryClient, { name, app, done }: Subject, { outcome, services }: Followed): Promise<number> {
  switch (outcome) {
    case Outcome.done:
      await write(`${outStyle.green('done')} ${name}: ${done}\n`);
      break;
    case Outcome.detached:
      say(`${name} goes on in the background; look again with: gantry ps ${name}`);
      break;
    case Outcome.rolledBack:
    case Outcome.failed:
    case Outcome.paused:
      say(`${style.red(outcome)} ${name}: ${rolloutReason(services)}`);
      say(`${style.bold('hint:')} gantry rollout status ${firstOf(services) ?? name}, gantry logs ${firstOf(services) ?? name}`);
      break;
    case Outcome.notPlaced:
      say(`${style.red('not placed')} ${name}:`);
      for (const view of services) if (view.refusal) say(refusalLines(keyText(view.service?.key), view, style).join('\n'));
      break;
    case Outcome.deadline:
      say(`${style.red('deadline')} ${name}: not there yet; it goes on, look again with: gantry ps ${name}`);
      await tellUnready(client, app, services);
  }
  return exitCodes[outcome];
}

function firstOf(services: readonly ServiceView[]): string | undefined {
  const view = services.find((one) => one.rollout?.reason);
  return view && keyText(view.service?.key);
}

function rolloutReason(services: readonly ServiceView[]): string {
  const reasons = services.flatMap((view) =>
    view.rollout?.reason ? [`${keyText(view.service?.key)}: ${plain(view.rollout.reason)}`] : [],
  );
  return reasons.join('; ') || 'the new revision did not become ready';
}

/** The containers that keep services from being settled, with their last words. */
async function tellUnready(client: GantryClient, app: string, services: readonly ServiceView[]): Promise<void> {
  const unsettled = new Set(services.filter((view) => !isSettled(view)).map((view) => keyText(view.service?.key)));
  const containers = await fetchContainers(client, { app, service: '', container: '' }).catch(() => []);
  const unready = containers.filter((one) => !one.ready && unsettled.has(`${one.app}/${one.service}`));
  for (const one of unready.slice(0, mostTold)) {
    const reason = one.refusal?.message || one.reason || one.lastReason;
    say(`  ${one.name}  ${nameOf(ContainerState, one.state)}${reason ? `  ${plain(reason)}` : ''}`);
  }
  if (unready.length > mostTold) say(`  and ${unready.length - mostTold} more`);
}
