import type { Clock } from '@gantry/common';
import { type ContainerEvent, type ContainerRecord, type Moment, newRecord, transition } from './container.ts';

/** Told after every change; `before` is undefined for a container that just became known. */
export type LedgerListener = (record: ContainerRecord, before: ContainerRecord | undefined) => void;

/** The containers that this node knows, and the only writer of their records. */
export class Ledger {
  readonly #clock: Clock;
  readonly #records = new Map<string, ContainerRecord>();
  readonly #listeners: LedgerListener[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get records(): ReadonlyMap<string, ContainerRecord> {
    return this.#records;
  }

  onChange(listener: LedgerListener): void {
    this.#listeners.push(listener);
  }

  get(id: string): ContainerRecord | undefined {
    return this.#records.get(id);
  }

  /** Takes in a record that was built from what an earlier process left. */
  restore(record: ContainerRecord): void {
    this.#set(record);
  }

  /**
   * Applies an event; a container that is not known yet begins as pending.
   * @throws GantryError internal for an illegal move.
   */
  apply(id: string, event: ContainerEvent): ContainerRecord {
    const now: Moment = { ms: this.#clock.monotonicMs(), us: this.#clock.nowUs() };
    const record = transition(this.#records.get(id) ?? newRecord(id, null, now.us), event, now);
    this.#set(record);
    return record;
  }

  drop(id: string): void {
    this.#records.delete(id);
  }

  #set(record: ContainerRecord): void {
    const before = this.#records.get(record.id);
    this.#records.set(record.id, record);
    for (const listener of this.#listeners) listener(record, before);
  }
}
