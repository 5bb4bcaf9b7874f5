import { type Assignment, AssignmentDesired, ContainerState, type ContainerStatus } from '@gantry/proto';
import { type ClusterView, serviceId } from '../cluster/view.ts';
import { demandOf } from './demand.ts';
import { type Amounts, amountsOf, dimensions } from './dimensions.ts';
import type { Occupancy, Occupant } from './preempt.ts';

/** Of a service's containers at most this share is pushed out at a time, but always one. */
const budgetShare = 0.25;

/** Who runs where, as the view has it now. @param gone containers that are taken as gone already. */
export function occupancyOf(view: ClusterView, gone: ReadonlySet<string> = new Set()): Occupancy {
  const budgets = new Map<string, number>();
  const isThere = (each: Assignment) => !gone.has(each.id) && !hasEnded(each, view.statuses.get(each.id)?.value);
  const running = (node: string) => [...view.assignmentsOn(node).values()].map(({ value }) => value).filter(isThere);
  return {
    occupants: (node) => running(node).flatMap((assignment) => occupantOf(view, assignment)),
    leaving: (node) => {
      const sum = new Float64Array(dimensions.length);
      for (const assignment of running(node)) {
        if (assignment.desired !== AssignmentDesired.stop) continue;
        for (const [dimension, need] of needsOf(assignment).entries()) sum[dimension]! += need;
      }
      return sum;
    },
    budget: (service) => {
      const known = budgets.get(service);
      if (known !== undefined) return known;
      const own = view.containersOf(service).filter(({ assignment, status }) => !hasEnded(assignment, status));
      const stopping = own.filter(({ assignment }) => assignment.desired === AssignmentDesired.stop).length;
      const budget = Math.max(1, Math.floor(own.length * budgetShare)) - stopping;
      budgets.set(service, budget);
      return budget;
    },
  };
}

/** A container that is to run; its priority is what its service says now. */
function occupantOf(view: ClusterView, assignment: Assignment): Occupant[] {
  if (assignment.desired !== AssignmentDesired.run || !assignment.key) return [];
  const service = serviceId(assignment.key);
  const spec = view.services.get(service)?.value.spec ?? assignment.spec;
  return [{ id: assignment.id, service, needs: needsOf(assignment), priority: spec?.priority ?? 0 }];
}

/** What a container takes of its node while it is there. */
export function needsOf({ spec, reservation }: Assignment): Amounts {
  if (!spec) return amountsOf(reservation ?? { cpuMillis: 0, memoryBytes: 0, ioBytesPerSecond: 0, networkBytesPerSecond: 0 });
  return demandOf(reservation ? { ...spec, reservation, placement: null } : { ...spec, placement: null }).needs;
}

/** Whether its process is gone for good, so that it takes nothing any more. */
export function hasEnded(assignment: Assignment, status: ContainerStatus | undefined): boolean {
  if (!status) return false;
  if (status.state === ContainerState.complete || status.state === ContainerState.rejected) return true;
  return status.state === ContainerState.failed && (status.final || assignment.desired === AssignmentDesired.stop);
}
