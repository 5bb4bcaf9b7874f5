import { backoffMs, type Clock, GantryError, type Logger, sleep } from '@gantry/common';
import { ContainerStatus } from '@gantry/proto';
import { keys } from '../store/keys.ts';
import { type Comparison, maxTransactionWrites, type Store, type Write } from '../store/store.ts';
import { isNewer, type PendingStatus, removedStatus, StatusLane } from './status-lane.ts';

/** A status record as it stands in the store. */
export interface StoredStatus {
  readonly status: ContainerStatus;
  readonly modRevision: number;
}

export interface StatusWriterOptions {
  store: Store;
  clock: Clock;
  log: Logger;
  /** Between 0 and 1. */
  random: () => number;
  /** Whether the container is assigned to the node: of others nothing is stored. */
  isAssigned: (node: string, id: string) => boolean;
  /** What the view shows. */
  stored: (id: string) => StoredStatus | undefined;
  /** A node's acknowledged sequence may have risen. */
  onDurable: (node: string) => void;
  signal: AbortSignal;
}

const longestReason = 2000;

/**
 * Writes status records: everything that has come in while one transaction was on its way goes into the next one, so
 * that a lone status is stored at once and a storm in few transactions. An older status never overwrites a newer one.
 */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #lanes = new Map<string, StatusLane>();
  /** What this writer has written or read and the view may not show yet. */
  readonly #known = new Map<string, StoredStatus | undefined>();
  #running = false;
  #failures = 0;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** A session of the node begins. */
  begin(node: string): void {
    this.#lane(node).begin();
  }

  /** Takes in a batch; `removed` are containers of which nothing is left. */
  submit(node: string, batch: { sequence: number; epoch: number; statuses: readonly ContainerStatus[]; removed: readonly string[] }): void {
    const lane = this.#lane(node);
    lane.heard(batch.sequence);
    for (const status of batch.statuses) {
      lane.put({ ...status, node, epoch: status.epoch || batch.epoch, reason: status.reason.slice(0, longestReason) });
    }
    for (const id of batch.removed) {
      const known = lane.newest(id) ?? this.#stored(id)?.status;
      const status = removedStatus(known, { id, node, epoch: batch.epoch, sequence: batch.sequence });
      if (status) lane.put(status);
    }
    this.#start();
  }

  /** Every status of the node up to this sequence is durable. */
  acknowledged(node: string): number {
    return this.#lanes.get(node)?.acknowledged ?? 0;
  }

  /** The container is gone: what was remembered of it can go too. */
  forget(id: string): void {
    this.#known.delete(id);
  }

  /** The node is gone for good. */
  forgetNode(node: string): void {
    this.#lanes.delete(node);
  }

  /** Statuses that wait for the store. */
  get waiting(): number {
    let sum = 0;
    for (const lane of this.#lanes.values()) sum += lane.waiting;
    return sum;
  }

  #lane(node: string): StatusLane {
    let lane = this.#lanes.get(node);
    if (!lane) {
      lane = new StatusLane();
      this.#lanes.set(node, lane);
    }
    return lane;
  }

  #stored(id: string): StoredStatus | undefined {
    const seen = this.#options.stored(id);
    if (!this.#known.has(id)) return seen;
    const known = this.#known.get(id);
    if (seen && (!known || seen.modRevision >= known.modRevision)) {
      this.#known.delete(id);
      return seen;
    }
    return known;
  }

  #start(): void {
    if (this.#running) return;
    this.#running = true;
    // statuses that arrive in the same turn share the first transaction
    queueMicrotask(() => void this.#run());
  }

  async #run(): Promise<void> {
    const { signal } = this.#options;
    while (!signal.aborted) {
      const taken = this.#take();
      if (taken.length === 0) break;
      await this.#write(taken);
    }
    this.#running = false;
  }

  #take(): PendingStatus[] {
    const taken: PendingStatus[] = [];
    for (const lane of this.#lanes.values()) {
      if (taken.length >= maxTransactionWrites) break;
      taken.push(...lane.take(maxTransactionWrites - taken.length));
    }
    return taken;
  }

  async #write(taken: readonly PendingStatus[]): Promise<void> {
    const { store, clock, log, random, signal, onDurable } = this.#options;
    const wanted = taken.filter(({ status }) => this.#isWanted(status));
    try {
      if (wanted.length > 0 && !(await this.#commit(wanted))) await this.#reread(store, wanted);
      this.#failures = 0;
    } catch (thrown) {
      const error = GantryError.from(thrown);
      if (this.#failures === 0) log.warn({ err: error.message, statuses: wanted.length }, 'cannot store status, will try again');
      for (const { status } of wanted) this.#lane(status.node).putBack(status.id);
      const delayMs = backoffMs(this.#failures++, random(), { minMs: 20, maxMs: 500 });
      await sleep(clock, delayMs, signal).catch(() => undefined);
      // whether it was applied is not known: what stands there now decides
      if (!signal.aborted) await this.#reread(store, wanted).catch(() => undefined);
    }
    const kept = new Set(wanted);
    for (const pending of taken) if (!kept.has(pending)) this.#lane(pending.status.node).settle(pending.status.id);
    for (const node of new Set(taken.map(({ status }) => status.node))) onDurable(node);
  }

  #isWanted(status: ContainerStatus): boolean {
    if (!this.#options.isAssigned(status.node, status.id)) return false;
    const stored = this.#stored(status.id);
    return !stored || isNewer(status, stored.status);
  }

  /** @returns whether it was written; when not, somebody else has written one of the keys. */
  async #commit(wanted: readonly PendingStatus[]): Promise<boolean> {
    const compare: Comparison[] = [];
    const writes: Write[] = [];
    for (const { status } of wanted) {
      const key = keys.status(status.node, status.id);
      compare.push({ kind: 'modRevision', key, equals: this.#stored(status.id)?.modRevision ?? 0 });
      writes.push({ kind: 'put', key, value: ContainerStatus.encode(status) });
    }
    const result = await this.#options.store.transact({ compare, writes });
    if (!result.succeeded) return false;
    for (const { status } of wanted) {
      if (this.#options.isAssigned(status.node, status.id)) this.#known.set(status.id, { status, modRevision: result.revision });
      this.#lane(status.node).settle(status.id);
    }
    return true;
  }

  /** Reads what stands in the store and lets the statuses wait for the next transaction. */
  async #reread(store: Store, wanted: readonly PendingStatus[]): Promise<void> {
    const items = await Promise.all(wanted.map(({ status }) => store.get(keys.status(status.node, status.id))));
    for (const [index, { status }] of wanted.entries()) {
      const item = items[index];
      const stored = item && { status: ContainerStatus.decode(item.value), modRevision: item.modRevision };
      if (this.#options.isAssigned(status.node, status.id)) this.#known.set(status.id, stored);
      this.#lane(status.node).putBack(status.id);
    }
  }
}
