/** Time as an argument: real in programs, manual in tests. */
export interface Clock {
  /** Wall clock, microseconds since the epoch. For records and people, never for time-outs. */
  nowUs(): number;
  /** Milliseconds that never go backwards, from an arbitrary start. */
  monotonicMs(): number;
  /** Calls back once after at least `delayMs`; the returned function cancels. */
  timer(delayMs: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  nowUs: () => Math.round((performance.timeOrigin + performance.now()) * 1000),
  monotonicMs: () => performance.now(),
  timer: (delayMs, callback) => {
    const handle = setTimeout(callback, Math.max(0, Math.min(delayMs, 2 ** 31 - 1)));
    return () => clearTimeout(handle);
  },
};

/** A clock that stands still until it is told to move; timers fire in order during `advance`. */
export class ManualClock implements Clock {
  #ms: number;
  readonly #startUs: number;
  #next = 0;
  readonly #timers = new Map<number, { at: number; callback: () => void }>();

  /** @param startUs wall clock at the start, microseconds since the epoch. */
  constructor(startUs = 1_700_000_000_000_000) {
    this.#ms = 0;
    this.#startUs = startUs;
  }

  nowUs(): number {
    return this.#startUs + Math.round(this.#ms * 1000);
  }

  monotonicMs(): number {
    return this.#ms;
  }

  timer(delayMs: number, callback: () => void): () => void {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#ms + Math.max(0, delayMs), callback });
    return () => this.#timers.delete(id);
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves time on and fires what falls due, earliest first, letting promises settle between. */
  async advance(ms: number): Promise<void> {
    const end = this.#ms + ms;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      this.#ms = Math.max(this.#ms, due[1].at);
      this.#timers.delete(due[0]);
      due[1].callback();
    }
    this.#ms = end;
    await settle();
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Resolves after `delayMs`; rejects with the signal's reason when it is aborted first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const onAbort = () => {
      cancel();
      reject(signal!.reason as Error);
    };
    const cancel = clock.timer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
