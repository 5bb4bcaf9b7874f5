import type { Assignment, Rollout } from '@gantry/proto';

/** A container that should be made. */
export interface Place {
  /** 1..n, 0 for global services. */
  readonly slot: number;
  /** Global services: the node. */
  readonly node: string | undefined;
  readonly revision: number;
  readonly reason: string;
  /** The container that it takes the place of, if any. */
  readonly replaces: string;
  readonly failures: number;
}

export interface Stop {
  readonly assignment: Assignment;
  readonly reason: string;
  readonly drainUs: number;
}

/** A container that goes on under a newer number of the same revision. */
export interface Renumber {
  readonly assignment: Assignment;
  readonly revision: number;
}

/** What to change for one service. */
export interface Plan {
  readonly place: readonly Place[];
  readonly stop: readonly Stop[];
  /** Records of containers of which nothing runs any more. */
  readonly remove: readonly Assignment[];
  readonly renumber: readonly Renumber[];
  /** The rollout's record when it is to be written. */
  readonly rollout: Rollout | undefined;
  /** When time alone may change the plan, microseconds since the epoch; infinite for never. */
  readonly waitUntilUs: number;
  /** Why wanted containers are not placed; empty when they are. */
  readonly waitsFor: string;
  /** The service was deleted and its last container is gone: its own records can go. */
  readonly finished: boolean;
}
