import { Code, GantryError } from '@gantry/common';

/** What work needs to run: its end is told by the signal, its progress goes to everybody who waits. */
export interface WorkContext<P> {
  signal: AbortSignal;
  report: (progress: P) => void;
}

export interface JoinOptions<P> {
  signal: AbortSignal;
  onProgress?: ((progress: P) => void) | undefined;
}

interface Flight<T, P> {
  result: Promise<T>;
  controller: AbortController;
  listeners: Set<(progress: P) => void>;
  joined: number;
  /** The newest progress, once there is some. */
  seen: { last?: { value: P } };
}

/**
 * Work that many may want at the same time and that is done once. It is aborted when the last of them has given up;
 * whoever comes after that starts anew.
 */
export class SharedWork<T, P> {
  readonly #flights = new Map<string, Flight<T, P>>();

  /** Joins the work of this key, or starts it. */
  async join(key: string, options: JoinOptions<P>, start: (context: WorkContext<P>) => Promise<T>): Promise<T> {
    if (options.signal.aborted) throw GantryError.from(options.signal.reason, Code.cancelled);
    const flight = this.#flights.get(key) ?? this.#start(key, start);
    const { onProgress } = options;
    flight.joined++;
    if (onProgress) {
      flight.listeners.add(onProgress);
      if (flight.seen.last) onProgress(flight.seen.last.value);
    }
    try {
      return await untilAborted(flight.result, options.signal);
    } finally {
      if (onProgress) flight.listeners.delete(onProgress);
      if (--flight.joined === 0) this.#abandon(key, flight);
    }
  }

  #start(key: string, start: (context: WorkContext<P>) => Promise<T>): Flight<T, P> {
    const controller = new AbortController();
    const listeners = new Set<(progress: P) => void>();
    const seen: Flight<T, P>['seen'] = {};
    const report = (value: P) => {
      seen.last = { value };
      for (const listener of listeners) listener(value);
    };
    const flight: Flight<T, P> = {
      result: start({ signal: controller.signal, report }),
      controller,
      listeners,
      joined: 0,
      seen,
    };
    this.#flights.set(key, flight);
    const ended = () => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    flight.result.then(ended, ended);
    return flight;
  }

  #abandon(key: string, flight: Flight<T, P>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
    flight.controller.abort(new GantryError(Code.cancelled, 'cancelled: nobody waits for it any more'));
  }
}

function untilAborted<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(GantryError.from(signal.reason, Code.cancelled));
    signal.addEventListener('abort', onAbort, { once: true });
    result.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
