import type { Resources, Usage } from '@gantry/proto';
import { type EstimateSettings, estimateDefaults, UsageEstimate } from './estimate.ts';

/** A container, as far as estimates need to know. */
export interface EstimateSubject {
  readonly id: string;
  /** "ns/app/service". */
  readonly service: string;
  readonly revision: number;
}

export interface EstimateTableOptions {
  settings?: EstimateSettings;
  /** Most containers; of more, those that reported longest ago are forgotten. 2.5 kB each. Default 50,000. */
  containers?: number;
  /** Most services, of each at most two revisions are kept. Default 10,000. */
  services?: number;
}

interface Known {
  readonly estimate: UsageEstimate;
  latestUs: number | undefined;
  peakBytes: number;
}

/** What a changed revision takes over from the one before weighs as much as this much of its own. */
const inheritedUs = 600e6;

/** Estimates of containers and of the revisions of services. Those who are not known yet start from their revision, it from the one before. */
export class EstimateTable {
  readonly #settings: EstimateSettings;
  readonly #mostContainers: number;
  readonly #mostServices: number;
  readonly #containers = new Map<string, Known>();
  readonly #services = new Map<string, Map<number, UsageEstimate>>();

  constructor({ settings = estimateDefaults, containers = 50_000, services = 10_000 }: EstimateTableOptions = {}) {
    this.#settings = settings;
    this.#mostContainers = containers;
    this.#mostServices = services;
  }

  /** Containers that it knows something of. */
  get size(): number {
    return this.#containers.size;
  }

  /** Takes in a measurement. @param atUs of this process's monotonic clock: an agent's clock may be wrong. */
  record(subject: EstimateSubject, usage: Usage, atUs: number): void {
    const known = this.#containers.get(subject.id) ?? { estimate: new UsageEstimate(this.#settings), latestUs: undefined, peakBytes: 0 };
    const use = measuredUse(usage, known.peakBytes);
    const coveredUs = known.latestUs === undefined ? 0 : Math.max(0, atUs - known.latestUs);
    known.estimate.observe(use, atUs, coveredUs);
    known.latestUs = atUs;
    known.peakBytes = usage.memoryPeakBytes;
    this.#revision(subject)?.observe(use, atUs, coveredUs);
    keepNewest(this.#containers, subject.id, known, this.#mostContainers);
  }

  /** What the container is expected to use; one that nothing is known of, and of whose service nothing is: the reservation. */
  expected(subject: EstimateSubject, reservation: Resources): Resources {
    const revisions = this.#services.get(subject.service);
    const revision = revisions?.get(subject.revision) ?? (revisions && newestOf(revisions));
    const start = revision?.isWarm ? revision.expected(reservation) : reservation;
    const own = this.#containers.get(subject.id)?.estimate;
    return own ? own.expected(start) : start;
  }

  /** Drops what is known of a container that is gone; its revision remembers. */
  forget(id: string): void {
    this.#containers.delete(id);
  }

  /** The estimate of a subject's revision; undefined for one older than the two that are kept. */
  #revision({ service, revision }: EstimateSubject): UsageEstimate | undefined {
    const revisions = this.#services.get(service) ?? new Map<number, UsageEstimate>();
    let estimate = revisions.get(revision);
    if (!estimate) {
      // it would be made anew at every report
      if (revisions.size === 2 && revision < Math.min(...revisions.keys())) return undefined;
      estimate = newestOf(revisions)?.successor(inheritedUs) ?? new UsageEstimate(this.#settings);
      revisions.set(revision, estimate);
      if (revisions.size > 2) revisions.delete(Math.min(...revisions.keys()));
    }
    keepNewest(this.#services, service, revisions, this.#mostServices);
    return estimate;
  }
}

/** What a report says was used. The peak since the start counts when it rose since the report before: it may lie between samples. */
export function measuredUse(usage: Usage, peakBeforeBytes: number): Resources {
  return {
    cpuMillis: usage.cpuMillis,
    memoryBytes: usage.memoryPeakBytes > peakBeforeBytes ? Math.max(usage.memoryBytes, usage.memoryPeakBytes) : usage.memoryBytes,
    ioBytesPerSecond: usage.ioReadBytesPerSecond + usage.ioWriteBytesPerSecond,
    networkBytesPerSecond: usage.networkReceiveBytesPerSecond + usage.networkTransmitBytesPerSecond,
  };
}

function newestOf(revisions: ReadonlyMap<number, UsageEstimate>): UsageEstimate | undefined {
  return revisions.size === 0 ? undefined : revisions.get(Math.max(...revisions.keys()));
}

/** Sets a value as the newest of the map; beyond `most` the oldest goes. */
function keepNewest<T>(map: Map<string, T>, key: string, value: T, most: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value!);
}
