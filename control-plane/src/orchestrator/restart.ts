import { ContainerState, RestartPolicyCondition } from '@gantry/proto';
import type { Replica } from './replica.ts';

const defaultDelayUs = 1e6;
const defaultMaxDelayUs = 300e6;
const defaultWindowUs = 600e6;

/** What becomes of the slot of a container that has ended for good. */
export type Replacement =
  /** It has done its work, or its policy wants no other. */
  | { readonly kind: 'never' }
  /** Another one from then on; `failures` goes into its assignment. */
  | { readonly kind: 'at'; readonly atUs: number; readonly failures: number };

/**
 * Decides whether an ended container is replaced, and when. Its agent has restarted it as often as the policy allows; the planner's
 * back-off between replacements starts at the policy's delay and doubles with every one that failed too. It is derived from the
 * stored records alone, so that the next leader goes on with it.
 */
export function replacementOf({ assignment, status, endedUs }: Replica, isJob: boolean): Replacement {
  const policy = assignment.spec?.restart;
  if (!status || status.state === ContainerState.complete) return { kind: 'never' };
  if (status.state === ContainerState.failed && (isJob || policy?.condition === RestartPolicyCondition.none)) return { kind: 'never' };
  const endUs = status.finishedAt > 0 ? status.finishedAt : status.updatedAt;
  const ranUs = status.startedAt > 0 ? endUs - status.startedAt : 0;
  const forgiven = ranUs >= (policy?.windowUs || defaultWindowUs);
  const before = forgiven ? 0 : assignment.failures;
  const delayUs = Math.min(policy?.maxDelayUs || defaultMaxDelayUs, (policy?.delayUs || defaultDelayUs) * 2 ** Math.min(before, 30));
  return { kind: 'at', atUs: endedUs + delayUs, failures: before + 1 };
}

/** How often the service has failed on each node of late, as its present records tell. */
export function crashesByNode(replicas: readonly Replica[]): Map<string, number> {
  const crashes = new Map<string, number>();
  for (const { assignment, status } of replicas) {
    if (!status) continue;
    const ended = status.state === ContainerState.rejected || (status.state === ContainerState.failed && status.final);
    const count = ended ? assignment.failures + 1 : status.restarts;
    if (count > 0) crashes.set(assignment.node, (crashes.get(assignment.node) ?? 0) + count);
  }
  return crashes;
}
