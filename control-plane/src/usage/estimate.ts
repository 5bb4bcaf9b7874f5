import type { Resources } from '@gantry/proto';
import { ExponentialHistogram } from './estimate-histogram.ts';

/** How estimates are made of measurements. */
export interface EstimateSettings {
  /** Share of the time that the estimate of CPU, I/O and network is enough for. Default 0.95. */
  readonly percentile: number;
  /** Added to what was measured, as a share of it. Default 0.15. */
  readonly margin: number;
  /** After this long a measurement weighs half, and a peak of memory counts half. Default one day. */
  readonly halfLifeUs: number;
  /** Time measured before an estimate may go below where it starts. Default 5 min. */
  readonly warmUpUs: number;
  /** After the warm-up, half of the start's hold on the estimate is gone after this long. Default one hour. */
  readonly startHalfLifeUs: number;
  /** A burst of CPU, I/O or network lifts the estimate at once, by half as much after this long. Default 5 min. */
  readonly burstHalfLifeUs: number;
  /** Never less than this is expected. Default 10m CPU, 8 MiB, no I/O, no network. */
  readonly floor: Resources;
}

const minuteUs = 60e6;

export const estimateDefaults: EstimateSettings = {
  percentile: 0.95,
  margin: 0.15,
  halfLifeUs: 1440 * minuteUs,
  warmUpUs: 5 * minuteUs,
  startHalfLifeUs: 60 * minuteUs,
  burstHalfLifeUs: 5 * minuteUs,
  floor: { cpuMillis: 10, memoryBytes: 8 * 2 ** 20, ioBytesPerSecond: 0, networkBytesPerSecond: 0 },
};

type Dimension = keyof Resources;

/** Dimensions whose percentile counts, with the finest amount told apart; of memory the peak counts, because too little of it kills. */
const rates = [
  ['cpuMillis', 5],
  ['ioBytesPerSecond', 8192],
  ['networkBytesPerSecond', 8192],
] as const;
const dimensions: readonly Dimension[] = ['cpuMillis', 'memoryBytes', 'ioBytesPerSecond', 'networkBytesPerSecond'];

/** A measurement speaks for at most this much of the time before it: nothing is known of a gap. */
const longestCoveredUs = minuteUs;
/** Weights grow by 2 each half-life; they are brought back before they leave what a 32-bit float can hold. */
const halfLivesBetweenScalings = 30;

/**
 * What something is expected to use, from what it used: per dimension a histogram whose weights decay (memory: a peak that decays),
 * and the latest burst. Time is an argument. It goes up at once and comes down slowly, and takes about 2 kB.
 */
export class UsageEstimate {
  readonly #settings: EstimateSettings;
  readonly #histograms: ExponentialHistogram[];
  readonly #held: Float64Array;
  /** Time at which a measurement weighs 1 a second. */
  #originUs = 0;
  #latestUs: number | undefined;
  #observedUs = 0;

  constructor(settings: EstimateSettings = estimateDefaults, from?: UsageEstimate) {
    this.#settings = settings;
    this.#histograms = from
      ? from.#histograms.map((histogram) => histogram.clone())
      : rates.map(([, first]) => new ExponentialHistogram(first));
    this.#held = from ? from.#held.slice() : new Float64Array(dimensions.length);
    if (!from) return;
    this.#originUs = from.#originUs;
    this.#latestUs = from.#latestUs;
    this.#observedUs = from.#observedUs;
  }

  /** Whether it has seen enough to go below where it starts. */
  get isWarm(): boolean {
    return this.#observedUs >= this.#settings.warmUpUs;
  }

  /**
   * Takes in what was used up to `atUs`, a time that need not be the wall's. Amounts that are no finite positive number count as 0.
   * @param coveredUs how long it was used like that; default: the time since the measurement before, at most a minute.
   */
  observe(use: Resources, atUs: number, coveredUs?: number): void {
    const elapsedUs = this.#latestUs === undefined ? 0 : Math.max(0, atUs - this.#latestUs);
    const { halfLifeUs, burstHalfLifeUs } = this.#settings;
    const burst = 2 ** (-elapsedUs / burstHalfLifeUs);
    const peak = 2 ** (-elapsedUs / halfLifeUs);
    // plain loops: this runs for every container of the cluster at every report
    for (let index = 0; index < dimensions.length; index++) {
      const dimension = dimensions[index]!;
      const decayed = this.#held[index]! * (dimension === 'memoryBytes' ? peak : burst);
      this.#held[index] = Math.max(amountOf(use[dimension]), decayed);
    }
    if (this.#latestUs === undefined) this.#originUs = atUs;
    this.#rescale(atUs);
    const seconds = Math.min(coveredUs ?? elapsedUs, longestCoveredUs) / 1e6;
    const weight = seconds * 2 ** ((atUs - this.#originUs) / halfLifeUs);
    for (let index = 0; index < rates.length; index++) this.#histograms[index]!.add(amountOf(use[rates[index]![0]]), weight);
    this.#observedUs += Math.min(elapsedUs, longestCoveredUs);
    this.#latestUs = Math.max(atUs, this.#latestUs ?? atUs);
  }

  /**
   * What is expected, in whole units.
   * @param start what it starts from: the reservation, or what others like it use. Held through the warm-up, and let go slowly after it.
   */
  expected(start: Resources): Resources {
    const { margin, percentile, floor, warmUpUs, startHalfLifeUs } = this.#settings;
    const hold = 2 ** (-Math.max(0, this.#observedUs - warmUpUs) / startHalfLifeUs);
    const result = { ...start };
    for (const [index, dimension] of dimensions.entries()) {
      const usual = this.isWarm && dimension !== 'memoryBytes' ? this.#histograms[histogramOf[dimension]]!.percentile(percentile) : 0;
      const measured = Math.max(usual, this.#held[index]!) * (1 + margin);
      result[dimension] = Math.ceil(Math.max(floor[dimension], measured, start[dimension] * hold));
    }
    return result;
  }

  /** A copy that what comes next outweighs soon: all it knows weighs no more than `atMostUs` of new measurements. */
  successor(atMostUs: number): UsageEstimate {
    const next = new UsageEstimate(this.#settings, this);
    const now = 2 ** (((this.#latestUs ?? 0) - this.#originUs) / this.#settings.halfLifeUs);
    const total = next.#histograms[0]!.total() / now;
    const factor = total === 0 ? 1 : Math.min(1, atMostUs / 1e6 / total);
    for (const histogram of next.#histograms) histogram.scale(factor);
    return next;
  }

  #rescale(atUs: number): void {
    const halfLives = (atUs - this.#originUs) / this.#settings.halfLifeUs;
    if (halfLives < halfLivesBetweenScalings) return;
    for (const histogram of this.#histograms) histogram.scale(2 ** -halfLives);
    this.#originUs = atUs;
  }
}

const histogramOf: Readonly<Record<Exclude<Dimension, 'memoryBytes'>, number>> = {
  cpuMillis: 0,
  ioBytesPerSecond: 1,
  networkBytesPerSecond: 2,
};

function amountOf(value: number): number {
  return Number.isFinite(value) && value > 0 ? value : 0;
}
