import { GantryError, type Loop, startLoop } from '@gantry/common';
import type { Operation } from '@gantry/proto';
import { keys } from '../store/keys.ts';
import type { Executor, JobQueue, OpenQueue, OperationPorts } from './ports.ts';
import { isUnfinished } from './records.ts';

export interface OperationLoopOptions extends OperationPorts {
  executors: Readonly<Record<string, Executor>>;
  openQueue: OpenQueue;
  /** Aborted when the term ends. */
  signal: AbortSignal;
}

/** How often unfinished operations are compared with the queue: one that lost its job gets another. */
const compareMs = 5000;
/** A queue that has had nothing to do for this long is closed. */
const idleMs = 60_000;
/** Records of ended operations that are kept. */
const mostEnded = 200;

/**
 * Carries out operations while this control plane leads. Their records in the store are the truth: the queue spreads and
 * retries them, and what it loses is put into it again. It is opened only while there is something to do.
 */
export class OperationLoop {
  readonly #options: OperationLoopOptions;
  readonly #running = new Map<string, Promise<void>>();
  readonly #loop: Loop;
  readonly #unsubscribe: () => void;
  #queue: JobQueue | undefined;
  #idleSinceMs: number | undefined;
  #isAway = false;

  constructor(options: OperationLoopOptions) {
    this.#options = options;
    this.#loop = startLoop({
      name: 'operations',
      clock: options.clock,
      intervalMs: compareMs,
      run: () => this.#compare(),
      onError: (error) => this.#failed(GantryError.from(error)),
    });
    this.#unsubscribe = options.view.onChange((changes) => {
      if (changes.some((change) => change.collection === 'operations')) this.#loop.trigger();
    });
  }

  /** Ends with the term; what runs has seen the term's signal. */
  async stop(): Promise<void> {
    this.#unsubscribe();
    await this.#loop.stop();
    await this.#close();
    await Promise.allSettled(this.#running.values());
  }

  /** Runs an operation, or joins in when it runs here already: a job may come twice. */
  run(id: string): Promise<void> {
    const present = this.#running.get(id);
    if (present) return present;
    const running = this.#execute(id).finally(() => this.#running.delete(id));
    this.#running.set(id, running);
    return running;
  }

  async #execute(id: string): Promise<void> {
    const { view, executors, signal, log } = this.#options;
    const operation = view.operations.get(id)?.value;
    if (!operation || !isUnfinished(operation)) return;
    const executor = Object.hasOwn(executors, operation.kind) ? executors[operation.kind] : undefined;
    if (!executor) {
      log.error({ operation: id, kind: operation.kind }, 'cannot carry out an operation of a kind that is not known');
      return;
    }
    await executor(id, this.#options, signal);
  }

  async #compare(): Promise<undefined> {
    const { view, clock } = this.#options;
    const operations = [...view.operations.values()].map((entry) => entry.value);
    const unfinished = operations.filter(isUnfinished);
    await this.#prune(operations);
    if (unfinished.length > 0) {
      this.#idleSinceMs = undefined;
      this.#queue ??= await this.#options.openQueue((id) => this.run(id));
      await this.#queue.ensure(unfinished.map((operation) => operation.id));
      if (this.#isAway) this.#options.log.info('operations go on');
      this.#isAway = false;
    } else if (this.#queue) {
      this.#idleSinceMs ??= clock.monotonicMs();
      if (clock.monotonicMs() - this.#idleSinceMs >= idleMs) await this.#close();
    }
    return undefined;
  }

  async #close(): Promise<void> {
    const queue = this.#queue;
    this.#queue = undefined;
    await queue?.close().catch(() => undefined);
  }

  #failed(error: GantryError): void {
    if (!this.#isAway) this.#options.log.warn({ err: error.message }, 'cannot queue operations, will try again');
    this.#isAway = true;
  }

  async #prune(operations: readonly Operation[]): Promise<void> {
    const ended = operations.filter((operation) => !isUnfinished(operation)).sort((a, b) => b.finishedAt - a.finishedAt);
    const old = ended.slice(mostEnded, mostEnded + 100);
    if (old.length === 0) return;
    const { store, fence } = this.#options;
    await store.transact({ compare: [fence], writes: old.map(({ id }) => ({ kind: 'delete', key: keys.operation(id) })) });
  }
}
