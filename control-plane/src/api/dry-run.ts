import { AssignmentDesired, ServiceChangeKind as Kind } from '@gantry/proto';
import { isGlobal } from '../cluster/container.ts';
import { serviceId } from '../cluster/view.ts';
import type { ServiceStep } from './app-plan.ts';
import type { ApiDeps, PlacementPlan, PlannedService } from './ports.ts';

/** Where the containers would go that the steps ask for. */
export function dryRun({ view, planner }: Pick<ApiDeps, 'view' | 'planner'>, steps: readonly ServiceStep[]): PlacementPlan {
  const services = steps.filter(({ change }) => change.kind !== Kind.unchanged).map((step) => plannedService(view, step));
  return planner.plan(services);
}

function plannedService(view: ApiDeps['view'], { change, before, after, revision }: ServiceStep): PlannedService {
  const { key, spec } = after!;
  const id = serviceId(key!);
  const running = [...view.assignmentsOf(id).values()]
    .map((entry) => entry.value)
    .filter(({ desired }) => desired === AssignmentDesired.run);
  const planned = { key: key!, spec: spec! };
  if (change.kind === Kind.removed) return { ...planned, slots: [], frees: running.map(({ id }) => id) };
  const wanted = isGlobal(spec!.mode) ? [] : Array.from({ length: spec!.replicas }, (_, index) => index + 1);
  const current = before && [...view.revisionsOf(id)].find(({ number }) => number === before.generation);
  const needsNew = revision !== undefined && revision.containerHash !== current?.containerHash;
  if (needsNew) return { ...planned, slots: wanted, frees: running.map(({ id }) => id) };
  const taken = new Set(running.map(({ slot }) => slot));
  return {
    ...planned,
    slots: wanted.filter((slot) => !taken.has(slot)),
    frees: running.filter(({ slot }) => slot > wanted.length).map(({ id }) => id),
  };
}
