const buckets = 96;
/** Each bucket reaches this much further than the one before: how far above the truth a percentile may be told. */
const ratio = 1.15;
const logOfRatio = Math.log(ratio);
/** Upper ends of the buckets, in multiples of the first one's. */
const upperEnds = Float64Array.from({ length: buckets }, (_, bucket) => (bucket === 0 ? 0 : ratio ** (bucket - 1)));
/** Of the target: sums of weights in another order may differ by so much. */
const tolerance = 1e-6;

/**
 * Weights of amounts in exponential buckets: bucket 0 is nothing at all, bucket 1 reaches up to `first`, and the last one,
 * 500,000 times as far, takes all above. 384 bytes of weights.
 */
export class ExponentialHistogram {
  readonly #first: number;
  readonly #weights: Float32Array;

  /** @param first upper end of the first bucket: finer amounts are not told apart. */
  constructor(first: number, weights: Float32Array = new Float32Array(buckets)) {
    this.#first = first;
    this.#weights = weights;
  }

  add(amount: number, weight: number): void {
    this.#weights[this.#bucketOf(amount)]! += weight;
  }

  /** Makes all that was added before weigh `factor` times as much. */
  scale(factor: number): void {
    for (let bucket = 0; bucket < buckets; bucket++) this.#weights[bucket]! *= factor;
  }

  /** Sum of the weights. */
  total(): number {
    let sum = 0;
    for (const weight of this.#weights) sum += weight;
    return sum;
  }

  /** Upper end of the bucket below which `share` of the weight lies; 0 when nothing was added. */
  percentile(share: number): number {
    const target = this.total() * share * (1 - tolerance);
    if (target === 0) return 0;
    let sum = 0;
    for (let bucket = 0; bucket < buckets; bucket++) {
      sum += this.#weights[bucket]!;
      if (sum >= target) return this.#upperEnd(bucket);
    }
    return this.#upperEnd(buckets - 1);
  }

  clone(): ExponentialHistogram {
    return new ExponentialHistogram(this.#first, this.#weights.slice());
  }

  #bucketOf(amount: number): number {
    if (amount <= 0) return 0;
    const size = amount / this.#first;
    const bucket = Math.min(buckets - 1, 1 + Math.max(0, Math.ceil(Math.log(size) / logOfRatio)));
    // the logarithm may be off by a rounding just above an edge
    return upperEnds[bucket]! < size ? Math.min(buckets - 1, bucket + 1) : bucket;
  }

  #upperEnd(bucket: number): number {
    return this.#first * upperEnds[bucket]!;
  }
}
