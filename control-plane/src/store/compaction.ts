import { type Clock, type Loop, startLoop } from '@gantry/common';
import { keys } from './keys.ts';
import type { Comparison, Store } from './store.ts';

/** History is kept for one to two of these. */
const compactionIntervalMs = 300_000;

export interface CompactionOptions {
  store: Store;
  clock: Clock;
  /** Of the leader: only it compacts. */
  fence: Comparison;
  onError: (error: unknown) => void;
}

/**
 * Writes the marker key and compacts the history before the marker that stood there until now. The compaction revision
 * is thus always a put: etcd 3.4 loses a delete event when the compaction revision is that delete.
 */
export async function markAndCompact({ store, clock, fence }: Omit<CompactionOptions, 'onError'>): Promise<void> {
  const key = keys.marker();
  const before = await store.get(key);
  const { succeeded } = await store.transact({
    compare: [fence, { kind: 'modRevision', key, equals: before?.modRevision ?? 0 }],
    writes: [{ kind: 'put', key, value: Buffer.from(String(clock.nowUs())) }],
  });
  if (succeeded && before) await store.compact(before.modRevision);
}

/** Marks and compacts each five minutes of a term, the first time after one interval. */
export function startCompaction(options: CompactionOptions): Loop {
  let first = true;
  return startLoop({
    name: 'compaction',
    clock: options.clock,
    intervalMs: compactionIntervalMs,
    onError: options.onError,
    run: async () => {
      if (!first) await markAndCompact(options);
      first = false;
      return undefined;
    },
  });
}
