import { ControlMessage } from '@gantry/proto';

/** What a session sends, in the order of its urgency. */
const slots = ['welcome', 'statusAck', 'assignments', 'endpoints', 'network', 'commands', 'pong'] as const;
export type Slot = (typeof slots)[number];

/** Builds a slot's message from the state at the moment of sending; undefined when there is nothing to say. */
export type Builders = Readonly<Record<Slot, () => Partial<ControlMessage> | undefined>>;

/**
 * What waits to be sent to one agent. It keeps no messages, only which parts have news: an agent that reads slowly gets the
 * newest state in one message, and memory stays bounded.
 */
export class Outbox {
  readonly #builders: Builders;
  readonly #dirty = new Set<Slot>();
  #last: Partial<ControlMessage> | undefined;
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  constructor(builders: Builders) {
    this.#builders = builders;
  }

  /** The slot has news. */
  mark(slot: Slot): void {
    this.#dirty.add(slot);
    this.#wake?.();
  }

  /** Ends the stream: after a last message, or with an error. Only the first end counts. */
  end(last?: Partial<ControlMessage>, error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#last = last;
    this.#error = error;
    this.#wake?.();
  }

  async *messages(): AsyncGenerator<ControlMessage, void, void> {
    for (;;) {
      if (this.#ended) {
        if (this.#last) yield ControlMessage.create(this.#last);
        if (this.#error !== undefined) throw this.#error as Error;
        return;
      }
      const message = this.#next();
      if (message) {
        yield message;
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  #next(): ControlMessage | undefined {
    for (const slot of slots) {
      if (!this.#dirty.delete(slot)) continue;
      const message = this.#builders[slot]();
      if (message) return ControlMessage.create(message);
    }
    return undefined;
  }
}
