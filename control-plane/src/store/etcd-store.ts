import { type Clock, Code, GantryError, systemClock } from '@gantry/common';
import type { Etcd3, ICompare, IKeyValue, IRangeResponse, IRequestOp } from 'etcd3';
import { connectEtcd, type EtcdConnectOptions, etcdError, isCompacted } from './etcd-client.ts';
import { grantLease } from './etcd-lease.ts';
import { rangeEnd, watchEtcd } from './etcd-watch.ts';
import {
  type Comparison,
  checkTransaction,
  type KeyValue,
  type ListResult,
  type Store,
  type StoreLease,
  type Transaction,
  type TransactionResult,
  type WatchBatch,
  type WatchOptions,
  type Write,
} from './store.ts';

export interface EtcdStoreOptions extends EtcdConnectOptions {
  clock?: Clock;
  /** Spreads reconnects; 0..1. */
  random?: () => number;
  /** Keys read with one request; default 1000. */
  pageSize?: number;
}

/** Attempts to list one revision before giving up, when compaction overtakes the list. */
const listAttempts = 3;

/** The store on etcd 3.4 or newer. */
export class EtcdStore implements Store {
  readonly #client: Etcd3;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #pageSize: number;
  readonly #closed = new AbortController();
  readonly #leases = new Set<StoreLease>();

  /** Does not dial: the first call does. */
  constructor(options: EtcdStoreOptions) {
    this.#client = connectEtcd(options);
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#pageSize = options.pageSize ?? 1000;
  }

  async get(key: string): Promise<KeyValue | undefined> {
    const { kvs } = await this.#call(`read "${key}"`, false, () => this.#client.kv.range({ key: Buffer.from(key) }));
    return kvs[0] && toKeyValue(kvs[0]);
  }

  async list(prefix: string): Promise<ListResult> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#list(prefix);
      } catch (error) {
        if (!isCompacted(GantryError.from(error).cause) || attempt === listAttempts) throw error;
      }
    }
  }

  async transact(transaction: Transaction): Promise<TransactionResult> {
    checkTransaction(transaction);
    const { compare, writes } = transaction;
    const request = { compare: compare.map(toCompare), success: writes.map(toOperation), failure: [] };
    const { header, succeeded } = await this.#call('commit', true, () => this.#client.kv.txn(request));
    return { succeeded, revision: Number(header.revision) };
  }

  watch(options: WatchOptions): AsyncIterable<WatchBatch> {
    return watchEtcd({
      client: this.#client,
      clock: this.#clock,
      random: this.#random,
      prefix: options.prefix,
      afterRevision: options.afterRevision,
      signal: AbortSignal.any([options.signal, this.#closed.signal]),
      list: () => this.list(options.prefix),
    });
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    if (!(ttlMs > 0)) throw new GantryError(Code.invalidArgument, `cannot make lease: its time must be above 0, found ${ttlMs}`);
    this.#requireOpen();
    const lease = await grantLease({ client: this.#client, clock: this.#clock, random: this.#random, ttlMs });
    this.#leases.add(lease);
    lease.lost.addEventListener('abort', () => this.#leases.delete(lease), { once: true });
    return lease;
  }

  async revision(): Promise<number> {
    const response = await this.#call('read the revision', false, () => this.#client.kv.range({ key: Buffer.from('/'), count_only: true }));
    return Number(response.header.revision);
  }

  async compact(revision: number): Promise<void> {
    try {
      await this.#call('compact', true, () => this.#client.kv.compact({ revision: String(revision) }));
    } catch (error) {
      // another leader was here before
      if (!isCompacted(GantryError.from(error).cause)) throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    // leases go back first, while calls still work; one that cannot ends by its time
    await Promise.allSettled([...this.#leases].map((lease) => lease.revoke()));
    this.#closed.abort();
    this.#client.close();
  }

  #requireOpen(): void {
    if (this.#closed.signal.aborted) throw new GantryError(Code.unavailable, 'cannot call the store: it is closed');
  }

  async #call<T>(act: string, writes: boolean, call: () => Promise<T>): Promise<T> {
    this.#requireOpen();
    try {
      return await call();
    } catch (error) {
      throw etcdError(error, act, writes);
    }
  }

  /** All pages, each from the revision of the first. */
  async #list(prefix: string): Promise<ListResult> {
    const end = rangeEnd(prefix);
    const items: KeyValue[] = [];
    let key = Buffer.from(prefix);
    let revision = 0;
    for (;;) {
      const page: IRangeResponse = await this.#call(`list "${prefix}"`, false, () =>
        this.#client.kv.range({ key, range_end: end, limit: this.#pageSize, ...(revision > 0 && { revision: String(revision) }) }),
      );
      if (revision === 0) revision = Number(page.header.revision);
      for (const item of page.kvs) items.push(toKeyValue(item));
      const last = page.kvs.at(-1);
      if (!page.more || !last) return { items, revision };
      key = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }
}

function toKeyValue({ key, value, create_revision, mod_revision }: IKeyValue): KeyValue {
  return { key: key.toString(), value, createRevision: Number(create_revision), modRevision: Number(mod_revision) };
}

function toCompare({ kind, key, equals }: Comparison): ICompare {
  const base = { result: 'Equal', key: Buffer.from(key) } as const;
  return kind === 'modRevision'
    ? { ...base, target: 'Mod', mod_revision: String(equals) }
    : { ...base, target: 'Create', create_revision: String(equals) };
}

function toOperation(write: Write): IRequestOp {
  const key = Buffer.from(write.key);
  if (write.kind === 'delete') return { request_delete_range: { key } };
  const { value, lease } = write;
  return { request_put: { key, value: Buffer.from(value), ...(lease !== undefined && { lease }) } };
}
