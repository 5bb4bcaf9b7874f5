import type { Clock } from '@gantry/common';
import type { Usage } from '@gantry/proto';
import { overContainers, overTime } from './measure.ts';
import { type Point, pointUs, type UsageWindows } from './windows.ts';

/** What a report says, as the gateway hands it on. */
export interface IngestReport {
  readonly node: string;
  readonly usage: Usage | undefined;
  readonly containers: ReadonlyMap<string, Usage>;
}

export interface IngestOptions {
  windows: UsageWindows;
  clock: Clock;
  /** The service ("ns/app/service") of a container. */
  serviceOf: (containerId: string) => string | undefined;
}

/** Makes points of the windows from reports: one each ten seconds a container, service and node. */
export interface Ingest {
  record(report: IngestReport): void;
  /** Keeps what has been reported so far and stops. */
  stop(): void;
}

/** Starts it. Times are this process's: an agent's clock may be wrong. */
export function startIngest({ windows, clock, serviceOf }: IngestOptions): Ingest {
  const samples = new Map<string, Usage[]>();
  let slot = Math.floor(clock.nowUs() / pointUs);
  let cancel = () => {};

  const add = (subject: string, usage: Usage) => {
    const present = samples.get(subject);
    if (present) present.push(usage);
    else samples.set(subject, [usage]);
  };

  const flush = () => {
    const at = slot * pointUs;
    const points: Point[] = [];
    const services = new Map<string, Usage[]>();
    for (const [subject, usages] of samples) {
      const usage = overTime(usages, at);
      points.push({ subject, usage });
      const service = subject.startsWith('container/') ? serviceOf(subject.slice('container/'.length)) : undefined;
      if (service !== undefined) services.set(service, [...(services.get(service) ?? []), usage]);
    }
    for (const [service, usages] of services) points.push({ subject: `service/${service}`, usage: overContainers(usages, at) });
    samples.clear();
    if (points.length > 0) windows.add(points);
  };

  const next = () => {
    const now = clock.nowUs();
    const present = Math.floor(now / pointUs);
    if (present !== slot) {
      flush();
      slot = present;
    }
    cancel = clock.timer(((slot + 1) * pointUs - now) / 1000 + 1, next);
  };
  next();

  return {
    record: ({ node, usage, containers }) => {
      if (usage) add(`node/${node}`, usage);
      for (const [id, measured] of containers) add(`container/${id}`, measured);
    },
    stop: () => {
      cancel();
      flush();
    },
  };
}
