import { PlacementStrategy, type ServiceSpec } from '@gantry/proto';
import { parseConstraint } from '../cluster/constraint.ts';
import { amountsOf, defaultReservation, guaranteedPids } from './dimensions.ts';
import type { Demand } from './ports.ts';

/** What of a demand does not stand in the spec. */
export interface DemandContext {
  /** Containers that the service wants; default: the spec's replicas. */
  replicas?: number;
  /** The one node that can take it. */
  pin?: { node: string; reason: string };
}

/**
 * What one container of the service asks of a node.
 * @throws GantryError invalidArgument when a constraint cannot be read.
 */
export function demandOf(spec: ServiceSpec, context: DemandContext = {}): Demand {
  const { placement, limits } = spec;
  const pids = limits && limits.pids > 0 ? Math.min(limits.pids, guaranteedPids) : guaranteedPids;
  return {
    needs: amountsOf(spec.reservation ?? defaultReservation, { pids, diskBytes: limits?.diskBytes ?? 0 }),
    constraints: (placement?.constraints ?? []).map(parseConstraint),
    tolerations: placement?.tolerations ?? [],
    preferences: (placement?.preferences ?? []).map(({ spread }) => spread),
    maxPerNode: placement?.maxReplicasPerNode ?? 0,
    strategy:
      placement?.strategy === PlacementStrategy.binpack
        ? 'binpack'
        : placement?.strategy === PlacementStrategy.spread
          ? 'spread'
          : undefined,
    pin: context.pin,
    replicas: context.replicas ?? spec.replicas,
  };
}
