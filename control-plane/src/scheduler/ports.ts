import type { NodeScore, Taint } from '@gantry/proto';
import type { Constraint, NodeAttributes } from '../cluster/constraint.ts';
import type { Amounts } from './dimensions.ts';

/** How nodes are chosen: fill them one by one, or keep all equally free. */
export type Strategy = 'binpack' | 'spread';

/** A node as the scheduler sees it. */
export interface SchedulerNode extends NodeAttributes {
  readonly taints: readonly Taint[];
  /** Empty when it can take containers, else why not: "lost", "not connected". */
  readonly unready: string;
  /** Empty when it may take new ones, else "cordoned" or "draining". */
  readonly closed: string;
  /** pids and disk: 0 is not known and not bounded. */
  readonly capacity: Amounts;
}

/** Where a service's containers go by where another's are. */
export interface ServiceAffinity {
  /** "namespace/app/service" of the other one; may be the service itself. */
  readonly service: string;
  /** Nodes with the same value of this attribute count as one place. */
  readonly within: string;
  /** Not where the other is, instead of only there. */
  readonly apart: boolean;
  /** No other place will do; else it weighs in the score. */
  readonly required: boolean;
}

/** What one container of a service asks for; equal for all its replicas of one revision. */
export interface Demand {
  readonly needs: Amounts;
  readonly constraints: readonly Constraint[];
  readonly tolerations: readonly string[];
  /** Attributes to spread over, most important first. */
  readonly preferences: readonly string[];
  /** Joined by AND as far as they are required. Default none. */
  readonly affinities?: readonly ServiceAffinity[];
  /** 0: any number. */
  readonly maxPerNode: number;
  /** Undefined: as the cluster does. */
  readonly strategy: Strategy | undefined;
  /** The one node that can take it, and what says so: a volume that lives there, or a global service's slot. */
  readonly pin: { readonly node: string; readonly reason: string } | undefined;
  /** Containers that the service wants in all; weighs how much it minds two on one node. */
  readonly replicas: number;
}

/** Places for some containers of one service. */
export interface PlacementRequest {
  /** "namespace/app/service". */
  readonly service: string;
  readonly demand: Demand;
  /** Ids of the containers to place. */
  readonly ids: readonly string[];
  /** How often the service crashed on a node of late. */
  readonly crashes?: ReadonlyMap<string, number>;
  /** Also tell scores and runners-up. Default false. */
  readonly scores?: boolean;
}

export interface Placed {
  readonly id: string;
  readonly node: string;
  /** The winner first, then at most two runners-up; empty unless asked for. */
  readonly scores: NodeScore[];
}

export interface PlacementResult {
  readonly placed: readonly Placed[];
  /** Ids that found no place. */
  readonly refused: readonly string[];
}
