import type { Usage } from '@gantry/proto';
import { type Counters, type Gauge, zeroCounters } from './counters.ts';
import { KeptFile } from './kept-file.ts';
import { addTotals, usageBetween, workingSet } from './rates.ts';
import type { SampleSource } from './sampler.ts';

interface OpenGauge {
  file: KeptFile;
  every: number;
  parse: Gauge['parse'];
}

const networkFields = ['receiveBytes', 'receivePackets', 'transmitBytes', 'transmitPackets', 'drops'] as const;
type NetworkCounters = Pick<Counters, (typeof networkFields)[number]>;

/** A reading with its time by the monotonic clock; NaN before the first. */
interface Reading {
  atMs: number;
  counters: Counters;
}

function emptyReading(): Reading {
  return { atMs: Number.NaN, counters: zeroCounters() };
}

function copy(from: Reading, to: Reading): void {
  to.atMs = from.atMs;
  Object.assign(to.counters, from.counters);
}

/** One thing that is sampled: its files, its last readings, and totals that outlive a restart. */
export class Tracked {
  readonly source: SampleSource;
  readonly #gauges: OpenGauge[];
  readonly #now: Reading = emptyReading();
  readonly #before: Reading = emptyReading();
  readonly #reported: Reading = emptyReading();
  readonly #base: Counters = zeroCounters();
  #peakBytes = 0;
  #atUs = 0;
  #samples: number;

  /** @param earlier the same container's run before this one. */
  constructor(source: SampleSource, gauges: readonly Gauge[], earlier?: Tracked) {
    this.source = { ...source };
    this.#gauges = gauges.map(({ path, every, parse }) => ({ file: new KeptFile(path), every, parse }));
    // Containers start at different steps, so that what is read seldom is spread over the seconds.
    this.#samples = source.pid % 10;
    if (!earlier) return;
    Object.assign(this.#base, earlier.#base);
    addTotals(this.#base, earlier.#now.counters);
    this.#peakBytes = earlier.#peakBytes;
  }

  sameAs(source: SampleSource): boolean {
    const own = this.source;
    return own.cgroupPath === source.cgroupPath && own.hostInterface === source.hostInterface && own.pid === source.pid;
  }

  /** Makes the last reading the one before. */
  begin(): void {
    copy(this.#now, this.#before);
  }

  /** Reads the files; what cannot be read keeps its value. */
  read(buffer: Buffer): void {
    const first = Number.isNaN(this.#before.atMs);
    for (const { file, every, parse } of this.#gauges) {
      if (!first && every > 1 && this.#samples % every !== 0) continue;
      const length = file.read(buffer);
      if (length > 0) parse(buffer, length, this.#now.counters);
    }
    this.#samples++;
  }

  setNetwork(network: NetworkCounters): void {
    Object.assign(this.#now.counters, network);
  }

  /** Adds what a container received and sent since its reading before: the sum goes on when containers go. */
  addNetwork(of: Tracked): void {
    if (Number.isNaN(of.#before.atMs)) return;
    const sum = this.#now.counters;
    for (const field of networkFields) sum[field] += Math.max(0, of.#now.counters[field] - of.#before.counters[field]);
  }

  end(nowUs: number, nowMs: number): void {
    this.#atUs = nowUs;
    this.#now.atMs = nowMs;
    this.#peakBytes = Math.max(this.#peakBytes, workingSet(this.#now.counters));
    if (Number.isNaN(this.#reported.atMs)) copy(this.#now, this.#reported);
  }

  latest(): Usage | undefined {
    if (Number.isNaN(this.#now.atMs)) return undefined;
    return this.#usage(this.#atUs, this.#before);
  }

  /** Usage since the last report, which this one becomes. */
  report(nowUs: number, nowMs: number): Usage | undefined {
    if (Number.isNaN(this.#now.atMs) || nowMs < this.#now.atMs) return undefined;
    const usage = this.#usage(nowUs, this.#now.atMs > this.#reported.atMs ? this.#reported : this.#before);
    copy(this.#now, this.#reported);
    return usage;
  }

  #usage(atUs: number, before: Reading): Usage {
    const elapsedUs = Number.isNaN(before.atMs) ? 0 : (this.#now.atMs - before.atMs) * 1000;
    const { counters: now } = this.#now;
    return usageBetween({ atUs, elapsedUs, before: before.counters, now, base: this.#base, memoryPeakBytes: this.#peakBytes });
  }

  close(): void {
    for (const { file } of this.#gauges) file.close();
  }
}
