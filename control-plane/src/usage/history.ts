import type { Clock, Logger } from '@gantry/common';
import type { Usage } from '@gantry/proto';
import type { EventLog } from './event-log.ts';
import { type IngestReport, startIngest } from './ingest.ts';
import { shareEvents } from './redis-events.ts';
import { connectRedis, type RedisLink } from './redis-link.ts';
import { shareReports } from './redis-reports.ts';
import { RedisWindows } from './redis-windows.ts';
import { MemoryWindows, readHistory, type UsageWindows } from './windows.ts';

/** What usage history is about. */
type UsageSubject =
  | { readonly kind: 'node'; readonly name: string }
  | { readonly kind: 'container'; readonly id: string }
  /** "ns/app/service": the sum over its containers. */
  | { readonly kind: 'service'; readonly id: string };

export interface HistoryOptions {
  /** "127.0.0.1:6379"; empty: there is no Redis. */
  redis: string;
  /** Of this control plane. */
  id: string;
  clock: Clock;
  log: Logger;
  random: () => number;
  events: EventLog;
  /** The service ("ns/app/service") of a container. */
  serviceOf: (containerId: string) => string | undefined;
  /** Whether there are other control planes that want to know of reports. */
  isShared: () => boolean;
  /** Told what the nodes of other control planes report. */
  learn: (report: IngestReport) => void;
  signal: AbortSignal;
}

/** What the control plane remembers of the past: usage and, with Redis, the events of all control planes. */
export interface History {
  record(report: IngestReport): void;
  /** Points oldest first, at most 1000. @throws GantryError unavailable when Redis does not answer. */
  history(subject: UsageSubject, sinceUs: number, stepUs: number, signal: AbortSignal): Promise<readonly Usage[]>;
  /** One line for people. */
  state(): { healthy: boolean; detail: string };
  stop(): void;
}

/** Without Redis only the newest hour of a few subjects is kept, in this process. */
const memorySubjects = 200;
const mostPoints = 1000;

/** Opens it. Redis is dialled in the background and may come and go. */
export async function openHistory(options: HistoryOptions): Promise<History> {
  const { redis, id, clock, log, random, events, serviceOf, isShared, learn, signal } = options;
  let link: RedisLink | undefined;
  let share: (report: IngestReport) => void = () => {};
  let windows: UsageWindows = new MemoryWindows(memorySubjects);
  if (redis !== '') {
    link = await connectRedis({ address: redis, log, name: `gantry-${id}` });
    const reader = await connectRedis({ address: redis, log, name: `gantry-${id}-events`, blocking: true });
    windows = new RedisWindows(link, id);
    void shareEvents({ events, link, reader, clock, random, signal });
    const listener = await connectRedis({ address: redis, log, name: `gantry-${id}-reports`, blocking: true });
    signal.addEventListener('abort', () => listener.close(), { once: true });
    share = shareReports({ id, link, listener, learn });
  }
  const ingest = startIngest({ windows, clock, serviceOf });
  return {
    record: (report) => {
      ingest.record(report);
      if (isShared()) share(report);
    },
    history: async (subject, sinceUs, stepUs) => {
      const name = subject.kind === 'node' ? subject.name : subject.id;
      const points = await readHistory(windows, { subject: `${subject.kind}/${name}`, sinceUs, stepUs });
      return points.slice(-mostPoints);
    },
    state: () => {
      if (!link) return { healthy: true, detail: 'no Redis: no operations, short history' };
      if (link.isReady) return { healthy: true, detail: redis };
      return { healthy: false, detail: `Redis at ${redis} does not answer: operations and history wait` };
    },
    stop: () => {
      ingest.stop();
      link?.close();
    },
  };
}
