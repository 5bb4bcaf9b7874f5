import { backoffMs, type Clock, sleep } from '@gantry/common';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { Etcd3, IWatchRequest, IWatchResponse } from 'etcd3';
import type { ListResult, StoreEvent, WatchBatch } from './store.ts';

type WatchStream = ClientDuplexStream<IWatchRequest, IWatchResponse>;

export interface EtcdWatchOptions {
  client: Etcd3;
  clock: Clock;
  random: () => number;
  prefix: string;
  afterRevision: number | undefined;
  signal: AbortSignal;
  /** All keys with the prefix, from one revision. */
  list: () => Promise<ListResult>;
}

/** A watch that etcd has not confirmed for this long is opened anew. */
const createdWithinMs = 5000;
const reconnect = { minMs: 50, maxMs: 1000 };

/** First key after all keys with the prefix. */
export function rangeEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  // keys are ASCII, so the last byte can always be raised
  end[end.length - 1]! += 1;
  return end;
}

/**
 * A snapshot, then every change, in order. The place to go on from is the last change seen, never a header: etcd's
 * header may be ahead of what was delivered. One stream serves one watch, so that none waits behind another.
 */
export async function* watchEtcd(options: EtcdWatchOptions): AsyncGenerator<WatchBatch, void, void> {
  const { clock, random, signal, list } = options;
  let seen = options.afterRevision;
  let failures = 0;
  while (!signal.aborted) {
    try {
      if (seen === undefined) {
        const { items, revision } = await list();
        if (signal.aborted) return;
        seen = revision;
        failures = 0;
        yield { snapshot: true, events: items.map((item): StoreEvent => ({ kind: 'put', ...item })), revision };
      }
      for await (const batch of stream(options, seen)) {
        failures = 0;
        if (batch === 'compacted') {
          seen = undefined;
          break;
        }
        seen = batch.revision;
        yield batch;
      }
    } catch {
      // every failure of the stream has one cure: open it again where it stopped
    }
    if (seen === undefined && failures === 0) continue;
    await sleep(clock, backoffMs(failures++, random(), reconnect), signal).catch(() => {});
  }
}

/** Changes after a revision from one stream, until it breaks; `compacted` when etcd no longer has them. */
async function* stream(options: EtcdWatchOptions, after: number): AsyncGenerator<WatchBatch | 'compacted', void, void> {
  const { client, clock, prefix, signal } = options;
  const call = (await client.watchClient.watch()) as unknown as WatchStream;
  const cancel = () => call.cancel();
  const stopTimer = clock.timer(createdWithinMs, cancel);
  // the reader below sees the error; without a listener of its own a late one would end the process
  call.on('error', () => {});
  signal.addEventListener('abort', cancel, { once: true });
  if (signal.aborted) cancel();
  try {
    call.write({ create_request: { key: Buffer.from(prefix), range_end: rangeEnd(prefix), start_revision: String(after + 1) } });
    let seen = after;
    for await (const response of call as AsyncIterable<IWatchResponse>) {
      if (response.created) stopTimer();
      if (Number(response.compact_revision) > 0) return yield 'compacted';
      if (response.canceled) {
        // a cancellation for another reason (no leader) is cured by a new stream
        return;
      }
      const events = response.events.map(toEvent).filter((event) => event.modRevision > seen);
      if (events.length === 0) continue;
      seen = events[events.length - 1]!.modRevision;
      yield { snapshot: false, events, revision: seen };
    }
  } finally {
    stopTimer();
    signal.removeEventListener('abort', cancel);
    call.cancel();
  }
}

function toEvent({ type, kv }: IWatchResponse['events'][number]): StoreEvent {
  const key = kv.key.toString();
  const modRevision = Number(kv.mod_revision);
  if (type === 'Delete') return { kind: 'delete', key, modRevision };
  return { kind: 'put', key, value: kv.value, createRevision: Number(kv.create_revision), modRevision };
}
