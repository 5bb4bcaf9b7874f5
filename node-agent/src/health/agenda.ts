import type { Clock } from '@gantry/common';

interface Entry {
  atMs: number;
  run: () => void;
  cancelled: boolean;
}

/** What is due within this time is done at once. */
const slackMs = 5;

/** Many things to do at their times with one timer: a heap ordered by time. */
export class Agenda {
  readonly #clock: Clock;
  readonly #heap: Entry[] = [];
  #cancelTimer: (() => void) | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many entries wait, those that were cancelled but have not come up included. */
  get size(): number {
    return this.#heap.length;
  }

  /** Calls back once after the delay; the returned function cancels. */
  after(delayMs: number, run: () => void): () => void {
    const entry: Entry = { atMs: this.#clock.monotonicMs() + delayMs, run, cancelled: false };
    this.#push(entry);
    this.#arm();
    return () => {
      entry.cancelled = true;
    };
  }

  clear(): void {
    this.#heap.length = 0;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#timerAtMs = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    const first = this.#heap[0];
    if (!first || first.atMs >= this.#timerAtMs) return;
    this.#cancelTimer?.();
    this.#timerAtMs = first.atMs;
    this.#cancelTimer = this.#clock.timer(first.atMs - this.#clock.monotonicMs(), () => this.#fire());
  }

  #fire(): void {
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    this.#cancelTimer = undefined;
    const untilMs = this.#clock.monotonicMs() + slackMs;
    for (let first = this.#heap[0]; first && first.atMs <= untilMs; first = this.#heap[0]) {
      this.#pop();
      if (!first.cancelled) first.run();
    }
    this.#arm();
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(entry);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (heap[parent]!.atMs <= entry.atMs) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = index * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.atMs < heap[child]!.atMs) child++;
      if (heap[child]!.atMs >= last.atMs) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}
