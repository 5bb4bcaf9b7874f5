import type { Clock } from '@gantry/common';

/** One source of a merge. */
export interface Source<T> {
  readonly name: string;
  readonly items: AsyncIterable<T>;
}

export interface MergeOptions<T> {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** What the items are ordered by. */
  readonly timeOf: (item: T) => number;
  /** How long an item waits for sources that are silent; they may then come late. Undefined: until every source has spoken. */
  readonly patienceMs?: number;
  /** Told of a source that broke; what it returns is shown in its place. */
  readonly onFailure: (name: string, error: unknown) => T;
}

interface Lane<T> {
  readonly name: string;
  readonly iterator: AsyncIterator<T>;
  head: T | undefined;
  /** Silent for longer than the patience: nothing waits for it until it speaks again. */
  idle: boolean;
}

/** Several sources as one, in time order. At most one item of each is held. Sources may be added while it runs. */
export class Merge<T> implements AsyncIterable<T> {
  readonly #options: MergeOptions<T>;
  readonly #lanes = new Set<Lane<T>>();
  #wake = () => {};
  #closed = false;

  constructor(options: MergeOptions<T>) {
    this.#options = options;
  }

  add({ name, items }: Source<T>): void {
    const lane: Lane<T> = { name, iterator: items[Symbol.asyncIterator](), head: undefined, idle: false };
    this.#lanes.add(lane);
    this.#pull(lane);
  }

  /** No source will be added: it ends when the last one has. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    const { signal } = this.#options;
    const onAbort = () => this.#wake();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        const lane = this.#due();
        if (lane) {
          const item = lane.head as T;
          lane.head = undefined;
          this.#pull(lane);
          yield item;
        } else {
          if (this.#closed && this.#lanes.size === 0) return;
          await this.#change();
        }
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      // a source that is waiting for its next item ends with the caller's signal
      for (const { iterator } of this.#lanes) void iterator.return?.().catch(() => {});
      this.#lanes.clear();
    }
  }

  /** The lane whose item is the oldest, once no other can have an older one. */
  #due(): Lane<T> | undefined {
    let oldest: Lane<T> | undefined;
    for (const lane of this.#lanes) {
      if (lane.head === undefined) {
        if (!lane.idle) return undefined;
      } else if (!oldest || this.#options.timeOf(lane.head) < this.#options.timeOf(oldest.head!)) oldest = lane;
    }
    return oldest;
  }

  /** Waits for a source to speak or end; after the patience the silent ones no longer count. */
  #change(): Promise<void> {
    const { clock, patienceMs } = this.#options;
    return new Promise((resolve) => {
      let cancel = () => {};
      this.#wake = () => {
        cancel();
        resolve();
      };
      const waiting = [...this.#lanes].some((lane) => lane.head !== undefined);
      if (patienceMs === undefined || !waiting) return;
      cancel = clock.timer(patienceMs, () => {
        for (const lane of this.#lanes) if (lane.head === undefined) lane.idle = true;
        resolve();
      });
    });
  }

  #pull(lane: Lane<T>): void {
    void lane.iterator.next().then(
      ({ done, value }) => {
        if (done) this.#lanes.delete(lane);
        else this.#arrive(lane, value);
        this.#wake();
      },
      (error: unknown) => {
        this.#arrive(lane, this.#options.onFailure(lane.name, error));
        this.#wake();
      },
    );
  }

  #arrive(lane: Lane<T>, item: T): void {
    lane.head = item;
    lane.idle = false;
  }
}
