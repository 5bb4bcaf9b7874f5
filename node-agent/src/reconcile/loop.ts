import { type Loop, startLoop } from '@gantry/common';
import type { Assignment, ContainerStatus } from '@gantry/proto';
import { containerPaths } from '../runtime/paths.ts';
import { adoptAll } from './adopt.ts';
import { Executor } from './apply.ts';
import type { ContainerRecord } from './container.ts';
import { Ledger } from './ledger.ts';
import { plan } from './plan.ts';
import type { ReconcilePorts } from './ports.ts';
import { isSaved, saveRecord } from './record-file.ts';
import { isPassing, statusOf } from './status.ts';
import { Watcher } from './watch.ts';

/** Time between the stop signal and the kill of a container that fences itself. */
const fenceGraceMs = 400;
/** A pass now and then although nothing happened, in case an event was missed. */
const intervalMs = 30_000;

/** What the node is asked to run, as the reconciler reads it. */
interface DesiredView {
  readonly assignments: ReadonlyMap<string, Assignment>;
  /** Whether it is known to be the whole truth. */
  readonly whole: boolean;
}

export interface ReconcilerOptions extends ReconcilePorts {
  desired: DesiredView;
  /** Contact with the control plane, as `plan` takes it. */
  link: () => 'unknown' | 'connected' | 'cutOff';
}

/** Keeps what runs on this node equal to what is desired. */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #ledger: Ledger;
  readonly #watcher: Watcher;
  readonly #executor: Executor;
  #loop: Loop | undefined;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#ledger = new Ledger(options.clock);
    this.#watcher = new Watcher(options, this.#ledger);
    this.#executor = new Executor({
      ports: options,
      ledger: this.#ledger,
      watcher: this.#watcher,
      assignmentOf: (id) => options.desired.assignments.get(id) ?? this.#ledger.get(id)?.assignment ?? undefined,
    });
    this.#ledger.onChange((record, before) => this.#onChange(record, before));
  }

  /** Finds again what runs, then begins to reconcile. */
  async start(): Promise<void> {
    const { desired } = this.#options;
    await adoptAll({
      ports: this.#options,
      ledger: this.#ledger,
      watcher: this.#watcher,
      assignmentOf: (id) => desired.assignments.get(id),
    });
    const { clock, log } = this.#options;
    this.#loop = startLoop({
      name: 'reconcile',
      clock,
      intervalMs,
      run: async () => this.#pass(),
      onError: (error) => log.error({ err: error }, 'a pass over the containers failed'),
    });
  }

  /** Asks for a pass: assignments, network or connection changed. */
  trigger(): void {
    this.#loop?.trigger();
  }

  get records(): ReadonlyMap<string, ContainerRecord> {
    return this.#ledger.records;
  }

  /** Where every container stands now. */
  statuses(): ContainerStatus[] {
    return [...this.#ledger.records.values()].map((record) => statusOf(record, this.#options.facts.name));
  }

  /** Ends without touching a container. */
  async close(): Promise<void> {
    await this.#loop?.stop();
    await this.#executor.close();
  }

  #pass(): { againInMs?: number } {
    const { desired, clock, link, nodeNetwork } = this.#options;
    const nowMs = clock.monotonicMs();
    const { steps, wakeAtMs } = plan({
      nowMs,
      fenceGraceMs,
      desired: desired.assignments,
      whole: desired.whole,
      records: this.#ledger.records,
      mayStart: nodeNetwork() !== undefined,
      link: link(),
    });
    for (const step of steps) this.#executor.carryOut(step);
    return wakeAtMs === undefined ? {} : { againInMs: Math.max(0, wakeAtMs - nowMs) };
  }

  #onChange(record: ContainerRecord, before: ContainerRecord | undefined): void {
    const { statuses, facts, log, network } = this.#options;
    const { kind } = record.phase;
    const moved = before?.phase.kind !== kind;
    const probed = !moved && (before?.ready !== record.ready || before.health !== record.health);
    if ((moved && isSaved(kind)) || (probed && kind === 'running')) {
      try {
        saveRecord(containerPaths(facts, record.id), record);
      } catch (error) {
        // a full disk: the container is still found through its monitor
        log.warn({ id: record.id, err: error }, 'cannot write down a container');
      }
    }
    if (kind === 'complete' || kind === 'failed' || kind === 'rejected') {
      network.release(record.id).catch((error: unknown) => log.warn({ id: record.id, err: error }, 'cannot release a network'));
    }
    if (kind !== 'removing' && kind !== 'removed') statuses.put(statusOf(record, facts.name), { passing: isPassing(kind) });
    this.#loop?.trigger();
  }
}
