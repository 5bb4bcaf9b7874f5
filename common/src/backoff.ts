export interface BackoffOptions {
  /** First delay. */
  minMs: number;
  /** Largest delay. */
  maxMs: number;
  /** Share of the delay that is random, 0..1; default 0.2. */
  jitter?: number;
}

/** Delay before attempt `attempt` (counted from 0): doubled each time, `random` in 0..1 spreads it. */
export function backoffMs(attempt: number, random: number, options: BackoffOptions): number {
  const base = Math.min(options.maxMs, options.minMs * 2 ** Math.min(attempt, 30));
  const jitter = options.jitter ?? 0.2;
  return base * (1 - jitter + jitter * random);
}
