import { ContainerState, ContainerStatus } from '@gantry/proto';

/** A status on its way to the store. */
export interface PendingStatus {
  readonly status: ContainerStatus;
  /** Lowest sequence that is answered for by it: later statuses of the container have taken its place. */
  readonly firstSequence: number;
}

const finalStates: ReadonlySet<ContainerState> = new Set([
  ContainerState.complete,
  ContainerState.failed,
  ContainerState.rejected,
  ContainerState.lost,
]);

/** Whether nothing follows a state unless the container starts again. */
function isFinal(state: ContainerState): boolean {
  return finalStates.has(state);
}

/** Order of what a node's agents say: by epoch, then by sequence. */
export function isNewer(one: ContainerStatus, other: ContainerStatus): boolean {
  return one.epoch > other.epoch || (one.epoch === other.epoch && one.sequence > other.sequence);
}

/**
 * What one node has said and the store does not hold yet: the newest status of each container. It is bounded by the number
 * of the node's containers, however long the store is away.
 */
export class StatusLane {
  readonly #waiting = new Map<string, PendingStatus>();
  readonly #inFlight = new Map<string, PendingStatus>();
  #received = 0;

  /** A session begins: its agent counts from its own start. */
  begin(): void {
    this.#received = 0;
  }

  /** @param sequence of the batch; everything up to it has been heard. */
  heard(sequence: number): void {
    this.#received = Math.max(this.#received, sequence);
  }

  put(status: ContainerStatus): void {
    const waiting = this.#waiting.get(status.id);
    if (waiting && !isNewer(status, waiting.status)) return;
    const same = waiting !== undefined && waiting.status.epoch === status.epoch;
    this.#waiting.set(status.id, { status, firstSequence: same ? waiting.firstSequence : status.sequence });
  }

  /** The newest that is known of a container here. */
  newest(id: string): ContainerStatus | undefined {
    return (this.#waiting.get(id) ?? this.#inFlight.get(id))?.status;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Moves up to `limit` statuses into flight; a container whose last one is still in flight waits. */
  take(limit: number): PendingStatus[] {
    const taken: PendingStatus[] = [];
    for (const [id, pending] of this.#waiting) {
      if (taken.length >= limit) break;
      if (this.#inFlight.has(id)) continue;
      this.#waiting.delete(id);
      this.#inFlight.set(id, pending);
      taken.push(pending);
    }
    return taken;
  }

  /** It is durable, or nobody wants it any more. */
  settle(id: string): void {
    this.#inFlight.delete(id);
  }

  /** It could not be written: it waits again, unless a newer one does. */
  putBack(id: string): void {
    const pending = this.#inFlight.get(id);
    if (!pending) return;
    this.#inFlight.delete(id);
    const waiting = this.#waiting.get(id);
    if (!waiting) this.#waiting.set(id, pending);
    else if (waiting.status.epoch === pending.status.epoch) this.#waiting.set(id, { ...waiting, firstSequence: pending.firstSequence });
  }

  /** The highest sequence up to which everything is durable. */
  get acknowledged(): number {
    let lowest = this.#received + 1;
    for (const lane of [this.#waiting, this.#inFlight]) {
      for (const pending of lane.values()) lowest = Math.min(lowest, pending.firstSequence);
    }
    return Math.max(0, lowest - 1);
  }
}

/** What to store for a container of which the agent says that nothing is left; undefined when its end is known. */
export function removedStatus(
  known: ContainerStatus | undefined,
  fallback: Pick<ContainerStatus, 'id' | 'node' | 'epoch' | 'sequence'>,
): ContainerStatus | undefined {
  if (known && isFinal(known.state)) return undefined;
  return ContainerStatus.create({
    ...known,
    ...fallback,
    state: ContainerState.complete,
    ready: false,
    final: true,
    pid: 0,
    reason: 'nothing is left of it on its node',
  });
}
