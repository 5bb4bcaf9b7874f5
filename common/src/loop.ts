import type { Clock } from './clock.ts';

export interface LoopOptions {
  name: string;
  clock: Clock;
  /** One pass. It sees the signal of the loop's end and may return when it wants to run again. */
  run: (signal: AbortSignal) => Promise<{ againInMs?: number } | undefined>;
  /** Passes also run this often without any event; 0 never. */
  intervalMs: number;
  /** Events within this time of the first one are served by one pass. Default 0: at once. */
  debounceMs?: number;
  /** After a failed pass: the wait before the next, doubled up to 32 times. Default 100. */
  retryMs?: number;
  /** Told of every failed pass. */
  onError: (error: unknown) => void;
}

/** A loop that runs at start, on events and at intervals, never twice at once, and stops cleanly. */
export interface Loop {
  /** Asks for a pass; many calls before it make one pass. */
  trigger(): void;
  /** No further pass; resolves when the present one has ended. */
  stop(): Promise<void>;
}

/** Starts a loop; the first pass begins at once. */
export function startLoop(options: LoopOptions): Loop {
  const { clock, run, intervalMs, debounceMs = 0, retryMs = 100, onError } = options;
  const ended = new AbortController();
  let running: Promise<void> | undefined;
  let wanted = false;
  let failures = 0;
  let cancelTimer = () => {};
  let timerAt = Number.POSITIVE_INFINITY;

  const schedule = (delayMs: number) => {
    const at = clock.monotonicMs() + delayMs;
    if (ended.signal.aborted || at >= timerAt) return;
    cancelTimer();
    timerAt = at;
    cancelTimer = clock.timer(delayMs, begin);
  };

  const pass = async () => {
    try {
      const result = await run(ended.signal);
      failures = 0;
      if (result?.againInMs !== undefined) schedule(result.againInMs);
    } catch (error) {
      if (ended.signal.aborted) return;
      onError(error);
      schedule(retryMs * 2 ** Math.min(failures++, 5));
    }
    if (intervalMs > 0) schedule(intervalMs);
  };

  function begin(): void {
    timerAt = Number.POSITIVE_INFINITY;
    cancelTimer();
    if (running || ended.signal.aborted) {
      wanted = true;
      return;
    }
    wanted = false;
    running = pass().finally(() => {
      running = undefined;
      if (wanted) schedule(debounceMs);
    });
  }

  begin();
  return {
    trigger: () => {
      wanted = true;
      if (!running) schedule(debounceMs);
    },
    stop: async () => {
      ended.abort();
      cancelTimer();
      await running;
    },
  };
}
