import { backoffMs, type Clock, sleep } from '@gantry/common';
import { Event } from '@gantry/proto';
import type { EventLog } from './event-log.ts';
import type { RedisLink } from './redis-link.ts';

const stream = 'gantry:events';
const longest = 100_000;
/** How many are read when a control plane starts. */
const recent = 2000;
const mostWaiting = 5000;
const blockMs = 5000;

export interface ShareEventsOptions {
  events: EventLog;
  /** For commands. */
  link: RedisLink;
  /** A connection of its own that waits for news. */
  reader: RedisLink;
  clock: Clock;
  random: () => number;
  signal: AbortSignal;
}

/**
 * Gives this control plane's events to the others through a Redis stream and takes in theirs. While Redis is away events
 * stay here; a bounded number of them is handed on later.
 */
export function shareEvents(options: ShareEventsOptions): Promise<void> {
  const { events, link, signal } = options;
  let waiting: Event[] = [];
  let writing = false;

  const write = async () => {
    if (writing) return;
    writing = true;
    try {
      while (waiting.length > 0 && link.isReady) {
        const batch = waiting.slice(0, 500);
        const pipeline = link.redis.pipeline();
        for (const event of batch) pipeline.xadd(stream, 'MAXLEN', '~', longest, '*', 'e', Buffer.from(Event.encode(event)));
        const results = await pipeline.exec();
        if (!results || results.some(([error]) => error)) return;
        waiting = waiting.filter((event) => !batch.includes(event));
      }
    } catch {
      // away again: what waits is written when it is back
    } finally {
      writing = false;
    }
  };

  const stop = events.onEvent((event, isOwn) => {
    if (!isOwn) return;
    waiting.push(event);
    if (waiting.length > mostWaiting) waiting.shift();
    void write();
  });
  const onReady = () => void write();
  link.redis.on('ready', onReady);
  signal.addEventListener(
    'abort',
    () => {
      stop();
      link.redis.off('ready', onReady);
      options.reader.close();
    },
    { once: true },
  );
  return follow(options);
}

/** Reads what is in the stream, then what comes. After an outage it goes on where it was; an emptied stream begins anew. */
async function follow({ events, reader, clock, random, signal }: ShareEventsOptions): Promise<void> {
  let last: string | undefined;
  for (let failures = 0; !signal.aborted; ) {
    try {
      if (last === undefined) {
        const newest = await reader.redis.xrevrangeBuffer(stream, '+', '-', 'COUNT', recent);
        last = newest[0]?.[0].toString() ?? '0-0';
        for (const [, fields] of newest.reverse()) accept(events, fields);
      }
      const answer = await reader.redis.xreadBuffer('COUNT', 500, 'BLOCK', blockMs, 'STREAMS', stream, last);
      for (const [id, fields] of entriesOf(answer)) {
        accept(events, fields);
        last = id.toString();
      }
      failures = 0;
    } catch {
      last = undefined;
      await sleep(clock, backoffMs(failures++, random(), { minMs: 200, maxMs: 2000 }), signal).catch(() => undefined);
    }
  }
}

type Entries = readonly (readonly [Buffer, readonly Buffer[]])[];

function entriesOf(answer: unknown): Entries {
  const streams = answer as readonly (readonly [Buffer, Entries])[] | null;
  return streams?.[0]?.[1] ?? [];
}

function accept(events: EventLog, fields: readonly Buffer[]): void {
  const bytes = fields[1];
  if (!bytes) return;
  try {
    events.accept(Event.decode(bytes));
  } catch {
    // not one of ours: the stream is readable to others
  }
}
