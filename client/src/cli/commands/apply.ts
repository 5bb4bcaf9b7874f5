import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { formatBytes, formatCpu, formatRate } from '@gantry/common';
import {
  type AppSpec,
  type FieldChange,
  type NodeCapacity,
  PlanRequest,
  type PlanResponse,
  RolloutState,
  ServiceChangeKind,
  type ServiceView,
} from '@gantry/proto';
import { ApplyOutcome, type ApplyResult, applyAndWait } from '../../apply.ts';
import { readCompose } from '../../compose/index.ts';
import type { GantryClient } from '../../gantry-client.ts';
import { terminalWidth, write } from '../output.ts';
import { nameOf, plain, style } from '../style.ts';
import { tableLines } from '../table.ts';
import { refusalLines } from './why.ts';

/** Reads a manifest from a file or, with "-", from standard input. */
export function readManifest(file: string, namespace: string): AppSpec {
  const text = readFileSync(file === '-' ? 0 : file, 'utf8');
  const folder = file === '-' ? process.cwd() : dirname(resolve(file));
  const app = readCompose(text, {
    file: file === '-' ? '<stdin>' : file,
    environment: process.env,
    readFile: (path) => readFileSync(resolve(folder, path)),
  });
  return { ...app, namespace };
}

export interface ApplyFlags {
  file: string;
  detach: boolean;
  timeoutMs: number;
  signal: AbortSignal;
}

/** gantry apply; returns the exit code. */
export async function apply(client: GantryClient, flags: ApplyFlags): Promise<number> {
  const app = readManifest(flags.file, client.namespace);
  const progress = new Progress(app.name);
  const detached = new AbortController();
  if (flags.detach) detached.abort();
  const signal = AbortSignal.any([flags.signal, detached.signal]);
  const result = await applyAndWait(client, app, { timeoutMs: flags.timeoutMs, signal, onProgress: (services) => progress.show(services) });
  progress.end();
  await reportOutcome(app.name, result);
  return result.outcome === ApplyOutcome.detached ? 0 : result.outcome;
}

async function reportOutcome(app: string, { outcome, response, services }: ApplyResult): Promise<void> {
  const changed = response.changes.filter((change) => change.kind !== ServiceChangeKind.unchanged);
  const summary = changed.map((change) => `${change.service} ${nameOf(ServiceChangeKind, change.kind)}`).join(', ') || 'no change';
  switch (outcome) {
    case ApplyOutcome.done:
      return write(`${style.green('done')} ${app}: ${summary}\n`);
    case ApplyOutcome.detached:
      return write(`${app}: ${summary}; goes on in the background, look with: gantry services\n`);
    case ApplyOutcome.rolledBack: {
      const reason = services.find((view) => view.rollout?.reason)?.rollout?.reason ?? '';
      process.stderr.write(`${style.red('rolled back')} ${app}: ${plain(reason)}\n`);
      return;
    }
    case ApplyOutcome.notPlaced: {
      process.stderr.write(`${style.red('not placed')} ${app}:\n`);
      for (const view of services)
        if (view.refusal) process.stderr.write(`${refusalLines(`${app}/${view.service?.key?.service ?? ''}`, view).join('\n')}\n`);
      return;
    }
    default:
      process.stderr.write(`${style.red('deadline')} ${app}: not there yet; it goes on, look with: gantry ps ${app}\n`);
  }
}

const barWidth = 20;

/** One line a service: redrawn in place on a terminal, else printed when it changes. */
class Progress {
  readonly #app: string;
  readonly #live = process.stderr.isTTY;
  #drawn = 0;
  #said = new Map<string, string>();

  constructor(app: string) {
    this.#app = app;
  }

  show(services: readonly ServiceView[]): void {
    if (this.#live) this.#draw(services);
    else this.#say(services);
  }

  end(): void {
    this.#drawn = 0;
  }

  #line(view: ServiceView): string {
    const state =
      view.rollout && view.rollout.state !== RolloutState.idle && view.rollout.state !== RolloutState.completed
        ? `, ${nameOf(RolloutState, view.rollout.state).replace('_', ' ')}`
        : '';
    const pending = view.refusal && view.pending > 0 ? `, ${view.pending} without a place` : '';
    return `${this.#app}/${view.service?.key?.service}  ${view.ready}/${view.desired} ready${state}${pending}`;
  }

  #draw(services: readonly ServiceView[]): void {
    const lines = services.map((view) => {
      const filled = view.desired > 0 ? Math.round((barWidth * Math.min(view.ready, view.desired)) / view.desired) : barWidth;
      return `${style.green('█'.repeat(filled))}${style.dim('░'.repeat(barWidth - filled))} ${this.#line(view)}`;
    });
    const up = this.#drawn > 0 ? `\u001b[${this.#drawn}A` : '';
    process.stderr.write(`${up}\u001b[J${lines.map((line) => `${line}\n`).join('')}`);
    this.#drawn = lines.length;
  }

  #say(services: readonly ServiceView[]): void {
    for (const view of services) {
      const name = view.service?.key?.service ?? '';
      const line = this.#line(view);
      if (this.#said.get(name) === line) continue;
      this.#said.set(name, line);
      process.stderr.write(`${line}\n`);
    }
  }
}

function fieldLines(fields: readonly FieldChange[]): string[] {
  return fields.flatMap(({ path, before, after }) => [
    ...(before === '' ? [] : [style.red(`    - ${path}: ${plain(before)}`)]),
    ...(after === '' ? [] : [style.green(`    + ${path}: ${plain(after)}`)]),
  ]);
}

const signs: Readonly<Record<number, string>> = { 1: style.green('+'), 2: style.yellow('~'), 3: style.yellow('~'), 4: style.red('-') };

function planLines(plan: PlanResponse, app: string): string[] {
  const changed = plan.changes.filter((change) => change.kind !== ServiceChangeKind.unchanged);
  const lines = changed.flatMap((change) => [
    `${signs[change.kind]} ${app}/${change.service} ${nameOf(ServiceChangeKind, change.kind)}`,
    ...fieldLines(change.fields),
  ]);
  for (const placement of plan.placements) {
    const name = `${app}/${placement.service}.${placement.slot || placement.node}`;
    lines.push(
      placement.node
        ? `  ${name} would go to ${style.bold(placement.node)}`
        : `  ${name} ${style.red('would not fit')}: ${placement.refusal?.message ?? ''}`,
    );
  }
  if (plan.placements.length > 0) lines.push('', ...tableLines(plan.capacity, capacityColumns, terminalWidth()));
  return [...lines, ...plan.warnings.map((warning) => style.yellow(`warning: ${warning}`))];
}

const after = (amount: (bytes: NonNullable<NodeCapacity['capacity']>) => string) => (node: NodeCapacity) => {
  const value = (resources: NodeCapacity['capacity']) => (resources ? amount(resources) : '-');
  return `${value(node.reservedBefore)} -> ${value(node.reservedAfter)} / ${value(node.capacity)}`;
};

const capacityColumns = [
  { header: 'NODE', value: (node: NodeCapacity) => node.node },
  { header: 'CPU', value: after((one) => formatCpu(one.cpuMillis)) },
  { header: 'MEMORY', value: after((one) => formatBytes(one.memoryBytes)) },
  { header: 'IO', value: after((one) => formatRate(one.ioBytesPerSecond)) },
  { header: 'NETWORK', value: after((one) => formatRate(one.networkBytesPerSecond)) },
];

/** gantry plan; returns the exit code: 0 no change, 10 changes. */
export async function plan(client: GantryClient, file: string): Promise<number> {
  const app = readManifest(file, client.namespace);
  const answer = await client.apps.plan(PlanRequest.create({ app }));
  const changes = answer.changes.some((change) => change.kind !== ServiceChangeKind.unchanged);
  await write(changes ? `${planLines(answer, app.name).join('\n')}\n` : `${app.name}: no change\n`);
  return changes ? 10 : 0;
}
