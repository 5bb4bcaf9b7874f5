import { type Clock, Code, GantryError, systemClock } from '@gantry/common';
import {
  type Comparison,
  checkTransaction,
  type KeyValue,
  type ListResult,
  type Store,
  type StoreEvent,
  type StoreLease,
  type Transaction,
  type TransactionResult,
  type WatchBatch,
  type WatchOptions,
  type Write,
} from './store.ts';

/** Calls that can be made to fail. */
export type FaultyCall = 'get' | 'list' | 'transact' | 'lease' | 'revision' | 'compact';

/** A failure to come. */
export interface Fault {
  call: FaultyCall;
  /** How many calls it hits; default 1. */
  times?: number;
  /** transact only: the writes happen and the answer is lost; default false: nothing happens. */
  applied?: boolean;
  /** Default: `unavailable`. */
  error?: GantryError;
}

export interface MemoryStoreOptions {
  clock?: Clock;
  /** Revisions kept for watchers; a watcher that is further behind gets a new snapshot. Default 10000. */
  historyLimit?: number;
}

interface HeldLease {
  readonly keys: Set<string>;
  readonly lost: AbortController;
}

/** What several `MemoryStore`s of one cluster share: the data, its history and its leases. */
class MemoryData {
  readonly items = new Map<string, KeyValue & { lease?: string }>();
  readonly leases = new Map<string, HeldLease>();
  readonly waiters = new Set<() => void>();
  history: { revision: number; events: StoreEvent[] }[] = [];
  revision = 1;
  /** Changes up to this revision are no longer in the history. */
  compacted = 0;
  nextLease = 1;
}

/**
 * A complete store in memory: revisions, transactions, watches with snapshots, compaction, leases, and failures to order.
 * Other connections to the same data are made by `connect`, so that a test has two processes on one store.
 */
export class MemoryStore implements Store {
  readonly #data: MemoryData;
  readonly #clock: Clock;
  readonly #historyLimit: number;
  readonly #closed = new AbortController();
  readonly #faults: Required<Fault>[] = [];
  readonly #ownLeases = new Set<string>();
  #available = true;

  constructor(options: MemoryStoreOptions = {}, data: MemoryData = new MemoryData()) {
    this.#clock = options.clock ?? systemClock;
    this.#historyLimit = options.historyLimit ?? 10_000;
    this.#data = data;
  }

  /** Another connection to the same data, with failures and leases of its own. */
  connect(): MemoryStore {
    return new MemoryStore({ clock: this.#clock, historyLimit: this.#historyLimit }, this.#data);
  }

  async get(key: string): Promise<KeyValue | undefined> {
    this.#pass('get');
    const item = this.#data.items.get(key);
    return item && publicItem(item);
  }

  async list(prefix: string): Promise<ListResult> {
    this.#pass('list');
    return { items: this.#matching(prefix), revision: this.#data.revision };
  }

  async transact(transaction: Transaction): Promise<TransactionResult> {
    checkTransaction(transaction);
    const fault = this.#fault('transact');
    if (fault && !fault.applied) throw fault.error;
    this.#requireAvailable();
    const result = this.#apply(transaction);
    if (fault) throw fault.error;
    return result;
  }

  async *watch(options: WatchOptions): AsyncIterable<WatchBatch> {
    const { prefix, signal } = options;
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    let seen = options.afterRevision;
    while (!ended.aborted) {
      const batch = this.#available ? this.#next(prefix, seen) : undefined;
      if (batch === undefined) {
        await this.#woken(ended);
        continue;
      }
      seen = batch.revision;
      if (batch.snapshot || batch.events.length > 0) yield batch;
    }
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    if (!(ttlMs > 0)) throw new GantryError(Code.invalidArgument, `cannot make lease: its time must be above 0, found ${ttlMs}`);
    this.#pass('lease');
    const id = String(this.#data.nextLease++);
    const held: HeldLease = { keys: new Set(), lost: new AbortController() };
    this.#data.leases.set(id, held);
    this.#ownLeases.add(id);
    return { id, lost: held.lost.signal, revoke: async () => this.expireLease(id) };
  }

  async revision(): Promise<number> {
    this.#pass('revision');
    return this.#data.revision;
  }

  async close(): Promise<void> {
    this.#closed.abort();
    for (const id of this.#ownLeases) this.expireLease(id);
    this.#wake();
  }

  /** Orders a failure; several for one call are used in the order given. */
  inject(fault: Fault): void {
    const error = fault.error ?? new GantryError(Code.unavailable, `cannot ${fault.call}: the store does not answer`);
    this.#faults.push({ times: 1, applied: false, ...fault, error });
  }

  /** False: every call fails with `unavailable` and watches stand still, until true again. */
  setAvailable(available: boolean): void {
    this.#available = available;
    this.#wake();
  }

  async compact(revision: number): Promise<void> {
    this.#pass('compact');
    this.#forget(revision);
  }

  /** Ends a lease as if its holder had been silent for too long: its keys go, `lost` is aborted. */
  expireLease(id: string): void {
    const held = this.#data.leases.get(id);
    if (!held) return;
    this.#data.leases.delete(id);
    held.lost.abort();
    const writes = [...held.keys].map((key): Write => ({ kind: 'delete', key }));
    if (writes.length > 0) this.#apply({ compare: [], writes });
  }

  #pass(call: FaultyCall): void {
    const fault = this.#fault(call);
    if (fault) throw fault.error;
    this.#requireAvailable();
  }

  #requireAvailable(): void {
    if (this.#closed.signal.aborted) throw new GantryError(Code.unavailable, 'cannot call the store: it is closed');
    if (!this.#available) throw new GantryError(Code.unavailable, 'cannot call the store: it does not answer; nothing was changed');
  }

  #fault(call: FaultyCall): Required<Fault> | undefined {
    const index = this.#faults.findIndex((fault) => fault.call === call);
    const fault = this.#faults[index];
    if (!fault) return undefined;
    if (--fault.times <= 0) this.#faults.splice(index, 1);
    return fault;
  }

  #matching(prefix: string): KeyValue[] {
    const found: KeyValue[] = [];
    for (const item of this.#data.items.values()) if (item.key.startsWith(prefix)) found.push(publicItem(item));
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** What a watcher at `seen` gets next; undefined: nothing yet. */
  #next(prefix: string, seen: number | undefined): WatchBatch | undefined {
    const data = this.#data;
    if (seen === undefined || seen < data.compacted) {
      const events = this.#matching(prefix).map((item): StoreEvent => ({ kind: 'put', ...item }));
      return { snapshot: true, events, revision: data.revision };
    }
    if (seen >= data.revision) return undefined;
    const events = data.history.filter((entry) => entry.revision > seen).flatMap((entry) => entry.events);
    return { snapshot: false, events: events.filter((event) => event.key.startsWith(prefix)), revision: data.revision };
  }

  #apply({ compare, writes }: Transaction): TransactionResult {
    const data = this.#data;
    if (!compare.every((comparison) => this.#holds(comparison))) return { succeeded: false, revision: data.revision };
    for (const write of writes) {
      if (write.kind === 'put' && write.lease !== undefined && !data.leases.has(write.lease)) {
        throw new GantryError(Code.notFound, `cannot write "${write.key}": its lease must exist, found none with id ${write.lease}`);
      }
    }
    const revision = data.revision + 1;
    const events = writes.flatMap((write) => this.#write(write, revision));
    if (events.length > 0) {
      data.revision = revision;
      data.history.push({ revision, events });
      if (data.history.length > this.#historyLimit) this.#forget(data.history[0]!.revision + 1);
      this.#wake();
    }
    return { succeeded: true, revision: data.revision };
  }

  #holds(comparison: Comparison): boolean {
    return (this.#data.items.get(comparison.key)?.[comparison.kind] ?? 0) === comparison.equals;
  }

  #write(write: Write, revision: number): StoreEvent[] {
    const { items, leases } = this.#data;
    const old = items.get(write.key);
    if (old?.lease !== undefined) leases.get(old.lease)?.keys.delete(write.key);
    if (write.kind === 'delete') return items.delete(write.key) ? [{ kind: 'delete', key: write.key, modRevision: revision }] : [];
    const { key, lease } = write;
    const item = { key, value: write.value.slice(), createRevision: old?.createRevision ?? revision, modRevision: revision };
    items.set(key, lease === undefined ? item : { ...item, lease });
    if (lease !== undefined) leases.get(lease)?.keys.add(key);
    return [{ kind: 'put', ...item }];
  }

  /** Drops the history before the revision. */
  #forget(revision: number): void {
    const data = this.#data;
    if (revision > data.revision) throw new GantryError(Code.failedPrecondition, `cannot compact: revision ${revision} is in the future`);
    data.compacted = Math.max(data.compacted, revision - 1);
    data.history = data.history.filter((entry) => entry.revision > data.compacted);
  }

  #wake(): void {
    const waiters = [...this.#data.waiters];
    this.#data.waiters.clear();
    for (const waiter of waiters) waiter();
  }

  #woken(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener('abort', done);
        this.#data.waiters.delete(done);
        resolve();
      };
      this.#data.waiters.add(done);
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted) done();
    });
  }
}

function publicItem({ key, value, createRevision, modRevision }: KeyValue): KeyValue {
  return { key, value, createRevision, modRevision };
}
