import type { Clock } from '@gantry/common';

/** Heartbeats whose answer is awaited at most. */
const mostOpen = 64;

/** `unknown` until the first contact, or until it is overdue. */
export type LinkState = 'unknown' | 'connected' | 'cutOff';

export interface LinkOptions {
  clock: Clock;
  /** After this long without a confirmed heartbeat the control plane may replace this node's containers. */
  cutOffMs: number;
  onChange: (state: LinkState) => void;
}

/**
 * Since when the control plane has not heard of this node. It counts from the sending of the last
 * heartbeat that was answered: the control plane counts from its arrival, which is later, so this
 * side is always the first to know.
 */
export class Link {
  readonly #options: LinkOptions;
  readonly #sent = new Map<number, number>();
  #state: LinkState = 'unknown';
  #heardAtMs: number;
  #cancel = () => {};

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#heardAtMs = options.clock.monotonicMs();
    this.#cancel = options.clock.timer(options.cutOffMs, () => this.#enter('cutOff'));
  }

  get state(): LinkState {
    return this.#state;
  }

  /** A heartbeat leaves. */
  sent(sequence: number): void {
    if (this.#sent.size >= mostOpen) this.#sent.clear();
    this.#sent.set(sequence, this.#options.clock.monotonicMs());
  }

  /** It was answered. */
  confirmed(sequence: number): void {
    const at = this.#sent.get(sequence);
    if (at === undefined) return;
    this.#sent.delete(sequence);
    this.#heardAtMs = Math.max(this.#heardAtMs, at);
    const leftMs = this.#heardAtMs + this.#options.cutOffMs - this.#options.clock.monotonicMs();
    if (leftMs <= 0) return;
    this.#cancel();
    this.#cancel = this.#options.clock.timer(leftMs, () => this.#enter('cutOff'));
    this.#enter('connected');
  }

  close(): void {
    this.#cancel();
  }

  #enter(state: LinkState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#options.onChange(state);
  }
}
