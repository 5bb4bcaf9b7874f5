import { AgentMessage, type Hello, type Inventory, type Report, type StatusBatch } from '@gantry/proto';

const inventoryLimit = 16;

/**
 * What waits to be sent on one connection, as slots and not as a queue: a newer report or
 * acknowledgement takes the older one's place, so that a slow connection holds nothing up and fills nothing.
 */
export class Outgoing implements AsyncIterable<AgentMessage> {
  readonly #takeStatuses: () => StatusBatch | undefined;
  readonly #inventories: Inventory[] = [];
  #hello: Hello | undefined;
  #heartbeat: (() => AgentMessage['heartbeat']) | undefined;
  #assignments: number | undefined;
  #endpoints: number | undefined;
  #report: Report | undefined;
  #open = false;
  #ended = false;
  #wake: () => void = () => {};

  constructor(hello: Hello, takeStatuses: () => StatusBatch | undefined) {
    this.#hello = hello;
    this.#takeStatuses = takeStatuses;
  }

  /** The control plane has answered the hello: everything else may go. */
  open(): void {
    this.#open = true;
    this.#wake();
  }

  /** The heartbeat is made when it is really sent. */
  heartbeat(make: () => NonNullable<AgentMessage['heartbeat']>): void {
    this.#heartbeat = make;
    this.#wake();
  }

  acknowledgeAssignments(revision: number): void {
    this.#assignments = Math.max(this.#assignments ?? 0, revision);
    this.#wake();
  }

  acknowledgeEndpoints(version: number): void {
    this.#endpoints = version;
    this.#wake();
  }

  report(report: Report): void {
    this.#report = report;
    this.#wake();
  }

  inventory(inventory: Inventory): void {
    if (this.#inventories.length >= inventoryLimit) this.#inventories.shift();
    this.#inventories.push(inventory);
    this.#wake();
  }

  /** There are statuses to take. */
  wake(): void {
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<AgentMessage, void, void> {
    while (!this.#ended) {
      const message = this.#next();
      if (message) {
        yield AgentMessage.create(message);
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = () => {};
    }
  }

  /** The most urgent one: statuses before acknowledgements before what repeats itself. */
  #next(): Partial<AgentMessage> | undefined {
    if (this.#hello) {
      const hello = this.#hello;
      this.#hello = undefined;
      return { hello };
    }
    if (!this.#open) return undefined;
    const heartbeat = this.#heartbeat?.();
    if (heartbeat) {
      this.#heartbeat = undefined;
      return { heartbeat };
    }
    const statuses = this.#takeStatuses();
    if (statuses) return { statuses };
    return this.#nextAnswer();
  }

  #nextAnswer(): Partial<AgentMessage> | undefined {
    if (this.#assignments !== undefined) {
      const revision = this.#assignments;
      this.#assignments = undefined;
      return { assignmentsAck: { revision } };
    }
    if (this.#endpoints !== undefined) {
      const version = this.#endpoints;
      this.#endpoints = undefined;
      return { endpointsAck: { version } };
    }
    const inventory = this.#inventories.shift();
    if (inventory) return { inventory };
    const report = this.#report;
    this.#report = undefined;
    return report && { report };
  }
}
