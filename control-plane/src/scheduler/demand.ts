import { PlacementStrategy, type ServiceSpec } from '@gantry/proto';
import { parseConstraint } from '../cluster/constraint.ts';
import { amountsOf, defaultReservation, guaranteedPids } from './dimensions.ts';
import type { Demand, ServiceAffinity } from './ports.ts';

/** What of a demand does not stand in the spec. */
export interface DemandContext {
  /** Containers that the service wants; default: the spec's replicas. */
  replicas?: number;
  /** "namespace/app/service": the names of its affinities are read from there. Default: they are left out. */
  service?: string;
  /** What others ask that concerns it. */
  keptApart?: readonly ServiceAffinity[];
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
    affinities: context.service === undefined ? [] : [...affinitiesOf(context.service, spec), ...(context.keptApart ?? [])],
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

/** The affinities of a spec, with full names: "cache" is of the same app, "shop/cache" of the same namespace. */
export function affinitiesOf(service: string, { placement }: ServiceSpec): ServiceAffinity[] {
  const parts = service.split('/');
  return (placement?.affinities ?? []).map(({ service: named, within, apart, required }) => ({
    service: [...parts.slice(0, named.includes('/') ? 1 : 2), named].join('/'),
    within: within || 'node.name',
    apart,
    required,
  }));
}
