import { GantryError } from '@gantry/common';
import type { Assignment } from '@gantry/proto';
import { limitResources } from '../runtime/limits.ts';
import { containerPaths } from '../runtime/paths.ts';
import { Addresses } from './addresses.ts';
import type { ContainerRecord } from './container.ts';
import type { Ledger } from './ledger.ts';
import type { ReconcilePorts } from './ports.ts';
import { saveRecord } from './record-file.ts';
import { afterStartFailure } from './restart.ts';
import { stopSignalOf } from './signals.ts';
import { failureOf, rateLimitOf, Starter } from './start.ts';
import type { Step, StepKind, StepOf } from './steps.ts';
import type { Watcher } from './watch.ts';

/** Containers that are started at the same time. */
const startsAtOnce = 8;
/** Time that a kill may take before harder means are used. */
const killPatienceMs = 10_000;

type Executors = { [K in StepKind]: (step: StepOf<K>) => void };

export interface ExecutorInput {
  ports: ReconcilePorts;
  ledger: Ledger;
  watcher: Watcher;
  /** The assignment that a step is for. */
  assignmentOf: (id: string) => Assignment | undefined;
}

/** Carries out steps. Each begins at once by moving the record, so that the next plan sees it; its end is another move. */
export class Executor {
  readonly #input: ExecutorInput;
  readonly #starter: Starter;
  readonly #addresses: Addresses;
  /** Starts under way, to be called off by a stop. */
  readonly #starting = new Map<string, AbortController>();
  readonly #work = new Set<Promise<void>>();
  #closed = false;
  readonly #executors: Executors = {
    kill: (step) => this.#kill(step.id),
    abandon: (step) => this.#abandon(step.id),
    stop: (step) => this.#stop(step),
    update: (step) => this.#update(step.id),
    remove: (step) => this.#remove(step.id),
    forget: (step) => this.#removed(step.id),
    drop: (step) => this.#input.ledger.drop(step.id),
    start: (step) => this.#start(step.id),
  };

  constructor(input: ExecutorInput) {
    this.#input = input;
    this.#starter = new Starter(input.ports, input.ledger, startsAtOnce);
    this.#addresses = new Addresses(input.ledger, input.ports.nodeNetwork);
  }

  carryOut(step: Step): void {
    this.#input.ports.log.debug({ id: step.id, step: step.kind, reason: step.reason }, 'step');
    const executor = this.#executors[step.kind] as (step: Step) => void;
    try {
      executor(step);
    } catch (error) {
      // one container's trouble must not keep the others waiting
      this.#input.ports.log.error({ id: step.id, step: step.kind, err: error }, 'a step failed unexpectedly');
    }
  }

  /** Waits for the work under way; starts that have no process yet are called off. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const start of this.#starting.values()) start.abort();
    await Promise.allSettled(this.#work);
  }

  /** Work that outlasts its step; a failure that nobody expected is logged, its container stays visible in its phase. */
  #background(id: string, work: Promise<void>): void {
    const guarded = work
      .catch((error: unknown) => this.#input.ports.log.error({ id, err: error }, 'a step failed unexpectedly'))
      .finally(() => this.#work.delete(guarded));
    this.#work.add(guarded);
  }

  #paths(id: string) {
    return containerPaths(this.#input.ports.facts, id);
  }

  #start(id: string): void {
    const assignment = this.#input.assignmentOf(id);
    if (!assignment) return;
    const cancel = new AbortController();
    this.#starting.set(id, cancel);
    this.#background(
      id,
      this.#startToEnd(assignment, cancel.signal).finally(() => this.#starting.delete(id)),
    );
  }

  async #startToEnd(assignment: Assignment, signal: AbortSignal): Promise<void> {
    const { ledger, watcher, ports } = this.#input;
    const { id } = assignment;
    try {
      ledger.apply(id, { kind: 'prepare', assignment, address: this.#addresses.addressOf(id) });
      const { running, network } = await this.#starter.start(assignment, signal);
      const condition = watcher.follow(id, running, { hostInterface: network.hostInterface });
      const record = ledger.apply(id, { kind: 'started', run: running.run, health: condition.health, ready: condition.ready });
      // a stop came while the process was being made
      if (record.phase.kind === 'stopping') await this.#signalToStop(record);
    } catch (error) {
      // an agent that ends leaves the container as it is on disk
      if (this.#closed) return;
      const { reason, verdict } = failureOf(error);
      if (!signal.aborted) ports.log.warn({ id, reason }, 'a container did not start');
      const failures = ledger.get(id)?.failures ?? 0;
      const decision = afterStartFailure({ spec: assignment.spec, failures, reason, verdict });
      ledger.apply(id, { kind: 'startFailed', reason, decision });
    }
  }

  #stop({ id, goal, graceMs, reason }: StepOf<'stop'>): void {
    const { ledger, ports } = this.#input;
    const asked = ledger.get(id)?.phase.kind === 'stopping';
    const record = ledger.apply(id, { kind: 'stop', goal, reason, killAtMs: ports.clock.monotonicMs() + graceMs });
    this.#starting.get(id)?.abort();
    if (!asked && record.phase.kind === 'stopping' && record.phase.run) this.#background(id, this.#signalToStop(record));
  }

  async #signalToStop(record: ContainerRecord): Promise<void> {
    const { images, runtime, log } = this.#input.ports;
    const { id, assignment } = record;
    const image = assignment ? images.present(assignment.spec?.container?.image ?? '', pinOf(assignment)) : undefined;
    try {
      await runtime.signal(this.#paths(id), stopSignalOf(assignment, image?.config.stopSignal ?? ''));
    } catch (error) {
      // the kill follows when its time is over
      log.warn({ id, reason: GantryError.from(error).message }, 'cannot ask a container to stop');
    }
  }

  #killed(id: string): void {
    const { ledger, ports } = this.#input;
    ledger.apply(id, { kind: 'killed', nextAtMs: ports.clock.monotonicMs() + killPatienceMs });
  }

  #kill(id: string): void {
    const { runtime, log } = this.#input.ports;
    this.#killed(id);
    const kill = async () => {
      try {
        await runtime.kill(this.#paths(id));
      } catch (error) {
        log.warn({ id, reason: GantryError.from(error).message }, 'cannot kill a container through its monitor');
      }
    };
    this.#background(id, kill());
  }

  /** A kill through the monitor did not help, so the monitor is what stands in the way. */
  #abandon(id: string): void {
    const { runtime, log } = this.#input.ports;
    this.#killed(id);
    log.error({ id }, 'a container outlived its kill: its monitor is ended');
    this.#background(id, runtime.abandon(this.#paths(id)));
  }

  /** Limits that can change while it runs. */
  #update(id: string): void {
    const { ledger, ports } = this.#input;
    const assignment = this.#input.assignmentOf(id);
    const run = ledger.get(id)?.run;
    if (!assignment || !run) return;
    const record = ledger.apply(id, { kind: 'updated', assignment });
    saveRecord(this.#paths(id), record);
    const update = async () => {
      const limits = limitResources(assignment.spec?.limits ?? null, assignment.reservation ?? null, ports.facts.disks);
      try {
        await ports.runtime.update(this.#paths(id), limits);
        await ports.network.limit(id, rateLimitOf(assignment) ?? {}, run.pid);
      } catch (error) {
        ports.log.warn({ id, reason: GantryError.from(error).message }, 'cannot change the limits of a container');
      }
    };
    this.#background(id, update());
  }

  #remove(id: string): void {
    const { ledger, ports } = this.#input;
    ledger.apply(id, { kind: 'remove' });
    const remove = async () => {
      const results = await Promise.allSettled([ports.network.release(id), ports.volumes.release(id), ports.remains.keep(id)]);
      for (const result of results) {
        if (result.status === 'rejected') ports.log.error({ id, err: result.reason as unknown }, 'something of a container is left');
      }
      this.#removed(id);
    };
    this.#background(id, remove());
  }

  #removed(id: string): void {
    this.#input.ledger.apply(id, { kind: 'removed' });
    this.#input.ports.statuses.removed(id);
  }
}

function pinOf(assignment: Assignment): string {
  return `${assignment.serviceUid}/${assignment.revision}`;
}
