import type { Clock } from '@gantry/common';
import { type ContainerStatus, StatusBatch } from '@gantry/proto';

/** A passing status is told only when it still holds after this time. */
const passingMs = 100;
const batchLimit = 250;

export interface OutboxOptions {
  clock: Clock;
  /** Counts up at every start of the agent. */
  epoch: number;
  /** There is something to take. */
  onPending: () => void;
}

interface Entry {
  sequence: number;
  /** Absent when only the removal is to be told. */
  status: ContainerStatus | undefined;
  removed: boolean;
}

/**
 * Statuses until the control plane has them safe. One entry a container, the newest, so that its
 * size is bounded by the number of containers however long nobody listens.
 */
export class Outbox {
  readonly #clock: Clock;
  readonly #epoch: number;
  readonly #onPending: () => void;
  /** By container id, in the order of their sequence. */
  readonly #entries = new Map<string, Entry>();
  readonly #held = new Map<string, { status: ContainerStatus; cancel: () => void }>();
  #sequence = 0;
  #sent = 0;

  constructor({ clock, epoch, onPending }: OutboxOptions) {
    this.#clock = clock;
    this.#epoch = epoch;
    this.#onPending = onPending;
  }

  /** How many containers have something that is not acknowledged. */
  get size(): number {
    return this.#entries.size;
  }

  put(status: ContainerStatus, { passing }: { passing: boolean }): void {
    const held = this.#held.get(status.id);
    if (passing) {
      if (held) held.status = status;
      else this.#held.set(status.id, { status, cancel: this.#clock.timer(passingMs, () => this.#release(status.id)) });
      return;
    }
    this.#forgetHeld(status.id);
    this.#add(status.id, status, false);
  }

  removed(id: string): void {
    this.#forgetHeld(id);
    this.#add(id, this.#entries.get(id)?.status, true);
  }

  /** A status with this agent's epoch and a sequence of its own, for the hello. */
  stamp(status: ContainerStatus): ContainerStatus {
    return { ...status, epoch: this.#epoch, sequence: ++this.#sequence };
  }

  /** What was not sent on this connection yet, oldest first; undefined when there is nothing. */
  take(): StatusBatch | undefined {
    const entries = [...this.#entries].filter(([, entry]) => entry.sequence > this.#sent).slice(0, batchLimit);
    const last = entries.at(-1)?.[1];
    if (!last) return undefined;
    this.#sent = last.sequence;
    return StatusBatch.create({
      sequence: last.sequence,
      statuses: entries.flatMap(([, { status }]) => (status ? [status] : [])),
      removed: entries.filter(([, { removed }]) => removed).map(([id]) => id),
    });
  }

  /** Everything up to this sequence is durable at the control plane. */
  acknowledge(sequence: number): void {
    for (const [id, entry] of this.#entries) {
      if (entry.sequence > sequence) break;
      this.#entries.delete(id);
    }
  }

  /** A new connection: what is not acknowledged is sent again. */
  reconnected(): void {
    this.#sent = 0;
  }

  #release(id: string): void {
    const held = this.#held.get(id);
    if (!held) return;
    this.#held.delete(id);
    this.#add(id, held.status, false);
  }

  #forgetHeld(id: string): void {
    this.#held.get(id)?.cancel();
    this.#held.delete(id);
  }

  #add(id: string, status: ContainerStatus | undefined, removed: boolean): void {
    const sequence = ++this.#sequence;
    this.#entries.delete(id);
    this.#entries.set(id, { sequence, removed, status: status && { ...status, epoch: this.#epoch, sequence } });
    this.#onPending();
  }
}
