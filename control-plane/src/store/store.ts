import { Code, GantryError } from '@gantry/common';

/** One key with its bytes and where it stands in the store's history. */
export interface KeyValue {
  readonly key: string;
  readonly value: Uint8Array;
  /** Revision of the store that made the key. */
  readonly createRevision: number;
  /** Revision of the store that last changed it. */
  readonly modRevision: number;
}

/** A change as a watcher sees it. */
export type StoreEvent =
  | {
      readonly kind: 'put';
      readonly key: string;
      readonly value: Uint8Array;
      readonly createRevision: number;
      readonly modRevision: number;
    }
  | { readonly kind: 'delete'; readonly key: string; readonly modRevision: number };

/** What a transaction demands before it writes. */
export type Comparison =
  /** The key was last changed at this revision; 0: it does not exist. */
  | { readonly kind: 'modRevision'; readonly key: string; readonly equals: number }
  /** The key was made at this revision; 0: it does not exist. */
  | { readonly kind: 'createRevision'; readonly key: string; readonly equals: number };

export type Write =
  | { readonly kind: 'put'; readonly key: string; readonly value: Uint8Array; readonly lease?: string }
  | { readonly kind: 'delete'; readonly key: string };

export interface Transaction {
  readonly compare: readonly Comparison[];
  readonly writes: readonly Write[];
}

export interface TransactionResult {
  /** Whether every comparison held; when not, nothing was written. */
  readonly succeeded: boolean;
  readonly revision: number;
}

export interface ListResult {
  readonly items: readonly KeyValue[];
  /** Revision of the store that the list shows. */
  readonly revision: number;
}

/** A batch of changes of one revision range, or the snapshot that a watch begins with. */
export interface WatchBatch {
  /** True for the snapshot, also for the one after a compaction: what is not in it no longer exists. */
  readonly snapshot: boolean;
  readonly events: readonly StoreEvent[];
  readonly revision: number;
}

export interface WatchOptions {
  /** Every key that starts with this. */
  prefix: string;
  /** Changes after this revision, without a snapshot (unless it has been compacted away). Default: snapshot first. */
  afterRevision?: number;
  signal: AbortSignal;
}

/** A lease that keeps its keys while this process lives. */
export interface StoreLease {
  readonly id: string;
  /** Aborted when the lease must be taken as lost, by this process's own monotonic clock. */
  readonly lost: AbortSignal;
  /** Gives it back: its keys go at once. */
  revoke(): Promise<void>;
}

/** Most writes a transaction takes; longer plans are committed in chunks. */
export const maxTransactionWrites = 120;

/**
 * The store of record. Every error is a GantryError; `unavailable` means that nothing was changed or that the
 * outcome is not known (message says which), and the caller reads back before it tries again.
 */
export interface Store {
  get(key: string): Promise<KeyValue | undefined>;
  /** All keys with the prefix, in key order, from one revision. */
  list(prefix: string): Promise<ListResult>;
  transact(transaction: Transaction): Promise<TransactionResult>;
  /** One snapshot and then every change after it, in order, none lost, none twice, until the signal aborts. Survives reconnects and compaction. */
  watch(options: WatchOptions): AsyncIterable<WatchBatch>;
  /** @param ttlMs how long its keys outlive this process. */
  lease(ttlMs: number): Promise<StoreLease>;
  /** Revision of the newest change. */
  revision(): Promise<number>;
  /** Forgets the history before the revision; watchers that still need it get a new snapshot. */
  compact(revision: number): Promise<void>;
  close(): Promise<void>;
}

/** Most bytes of values that a transaction carries, below etcd's default request limit of 1.5 MiB. */
export const maxTransactionBytes = 1_400_000;

/**
 * Refuses what no store takes: too many writes or comparisons, too many bytes, a key written twice.
 * @throws GantryError invalidArgument
 */
export function checkTransaction({ compare, writes }: Transaction): void {
  const refuse = (must: string, found: string | number): never => {
    throw new GantryError(Code.invalidArgument, `cannot commit: ${must}, found ${found}`);
  };
  const operations = Math.max(writes.length, compare.length);
  if (operations > maxTransactionWrites) refuse(`at most ${maxTransactionWrites} writes or comparisons are taken`, operations);
  if (new Set(writes.map((write) => write.key)).size < writes.length) refuse('a key must be written once', 'one written twice');
  const bytes = writes.reduce((sum, write) => sum + (write.kind === 'put' ? write.value.length : 0), 0);
  if (bytes > maxTransactionBytes) refuse(`at most ${maxTransactionBytes} bytes are taken`, bytes);
}
