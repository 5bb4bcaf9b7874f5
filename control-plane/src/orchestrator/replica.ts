import { type Assignment, AssignmentDesired, ContainerHealth, ContainerState, type ContainerStatus } from '@gantry/proto';

/**
 * What a container's node is like. `leaving`: its containers are to go elsewhere (drain, or a taint that drives them out);
 * `gone`: it is no longer part of the cluster.
 */
export type NodeCondition = 'here' | 'lost' | 'leaving' | 'gone';

/** One container of a service as the planner looks at it. */
export interface Replica {
  readonly assignment: Assignment;
  readonly status: ContainerStatus | undefined;
  readonly node: NodeCondition;
  /** When it was known to have ended, by the earlier of its agent's clock and ours; 0 while it has not. */
  readonly endedUs: number;
}

/** Whether its process will not run again: its agent has given up or finished, or it was to stop and has. */
export function isFinal({ assignment, status }: Replica): boolean {
  if (!status) return false;
  const { state } = status;
  if (state === ContainerState.complete || state === ContainerState.rejected) return true;
  return state === ContainerState.failed && (status.final || assignment.desired === AssignmentDesired.stop);
}

/** Wanted to run, and not ended. */
export function isLive(replica: Replica): boolean {
  return replica.assignment.desired === AssignmentDesired.run && !isFinal(replica);
}

/** Told to stop, and may still run where its agent can be reached. */
export function isStopping(replica: Replica): boolean {
  if (replica.node === 'lost' || replica.node === 'gone') return false;
  return replica.assignment.desired === AssignmentDesired.stop && !isFinal(replica);
}

/** Serves, as far as its agent says. */
export function isReady(replica: Replica): boolean {
  const { status, node } = replica;
  if (!isLive(replica) || node === 'lost' || node === 'gone') return false;
  return status?.state === ContainerState.running && status.ready;
}

/** Finished with success. */
export function isComplete({ status }: Replica): boolean {
  return status?.state === ContainerState.complete;
}

/** Failed at least once since it was placed, or came after ones that did; empty when it did not, else what happened. */
export function failureOf(replica: Replica): string {
  const { assignment, status } = replica;
  if (status?.state === ContainerState.rejected || status?.state === ContainerState.failed) return status.reason || 'failed';
  if (status && status.restarts > 0) return status.lastReason || status.reason || 'restarted';
  if (status?.health === ContainerHealth.unhealthy) return status.reason || 'unhealthy';
  return assignment.failures > 0 ? 'failed before' : '';
}
