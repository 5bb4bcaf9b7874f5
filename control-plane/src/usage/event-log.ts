import { type Clock, newId } from '@gantry/common';
import { Event } from '@gantry/proto';

/** Which events are wanted; empty fields match all. */
export interface EventFilter {
  readonly namespace: string;
  readonly app: string;
  readonly service: string;
  /** "service/web", "container/1f2e…", "node/n1", "operation/…". */
  readonly subject: string;
  /** Microseconds since the epoch. */
  readonly sinceUs: number;
}

/** What a part of the control plane says has happened. */
export type EventInit = Partial<Event> & Pick<Event, 'type' | 'message'>;

export interface EventLogOptions {
  clock: Clock;
  /** Most events kept; the oldest go first. Default 10000. */
  limit?: number;
}

/** Most events that wait for one watcher; what it is too slow for is left out. */
const watcherLimit = 1000;

/** The newest events, in memory. */
export class EventLog {
  readonly #clock: Clock;
  readonly #limit: number;
  #events: Event[] = [];
  #total = 0;
  readonly #ids = new Set<string>();
  readonly #listeners = new Set<(event: Event, isOwn: boolean) => void>();

  constructor({ clock, limit = 10_000 }: EventLogOptions) {
    this.#clock = clock;
    this.#limit = limit;
  }

  /** Takes note of what has happened here. */
  emit(init: EventInit): void {
    this.#add(Event.create({ ...init, id: newId(), at: init.at || this.#clock.nowUs() }), true);
  }

  /** Takes in an event of another control plane. */
  accept(event: Event): void {
    this.#add(event, false);
  }

  /** How many there have been. */
  get total(): number {
    return this.#total;
  }

  /** @returns a function that ends it. */
  onEvent(listener: (event: Event, isOwn: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Oldest first. */
  async list(filter: EventFilter): Promise<readonly Event[]> {
    return this.#events.filter((event) => matches(event, filter));
  }

  /** Events from `sinceUs` on (0: only new ones), oldest first, then each as it happens, until the signal aborts. */
  async *watch(filter: EventFilter, signal: AbortSignal): AsyncGenerator<Event, void, void> {
    const waiting = filter.sinceUs > 0 ? this.#events.filter((event) => matches(event, filter)) : [];
    let wake = () => {};
    const stop = this.onEvent((event) => {
      if (!matches(event, filter)) return;
      waiting.push(event);
      if (waiting.length > watcherLimit) waiting.shift();
      wake();
    });
    const onAbort = () => wake();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const event = waiting.shift();
        if (event) yield event;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
            if (signal.aborted) resolve();
          });
        }
      }
    } finally {
      stop();
      signal.removeEventListener('abort', onAbort);
    }
  }

  #add(event: Event, isOwn: boolean): void {
    if (this.#ids.has(event.id)) return;
    this.#ids.add(event.id);
    this.#total++;
    this.#events.push(event);
    // events of others may come late
    for (let index = this.#events.length - 1; index > 0 && this.#events[index - 1]!.at > event.at; index--) {
      this.#events[index] = this.#events[index - 1]!;
      this.#events[index - 1] = event;
    }
    if (this.#events.length > this.#limit * 1.1) {
      for (const old of this.#events.slice(0, this.#events.length - this.#limit)) this.#ids.delete(old.id);
      this.#events = this.#events.slice(-this.#limit);
    }
    for (const listener of this.#listeners) listener(event, isOwn);
  }
}

function matches(event: Event, filter: EventFilter): boolean {
  if (event.at < filter.sinceUs) return false;
  return (['namespace', 'app', 'service', 'subject'] as const).every((field) => filter[field] === '' || event[field] === filter[field]);
}
