import type { JobQueue, OpenQueue } from '../ports.ts';

/** A queue in memory: runs what it is given at once, and can be made to fail, to forget and to deliver twice. */
export class FakeQueue {
  isAway = false;
  opened = 0;
  closed = 0;
  readonly #jobs = new Set<string>();
  #run: (id: string) => Promise<void> = async () => {};

  readonly open: OpenQueue = async (run) => {
    this.opened++;
    this.#run = run;
    const queue: JobQueue = {
      ensure: async (ids) => {
        if (this.isAway) throw new Error('the queue is away');
        for (const id of ids) this.#start(id);
      },
      close: async () => {
        this.closed++;
      },
    };
    return queue;
  };

  /** As after FLUSHALL: no job is known any more, though some run. */
  forget(): void {
    this.#jobs.clear();
  }

  /** A job comes once more, as from a worker that was believed dead. */
  deliver(id: string): Promise<void> {
    return this.#run(id);
  }

  #start(id: string): void {
    if (this.#jobs.has(id)) return;
    this.#jobs.add(id);
    void this.#run(id).finally(() => this.#jobs.delete(id));
  }
}
