import { ContainerState, ContainerStatus } from '@gantry/proto';
import type { ContainerRecord, PhaseKind } from './container.ts';

const states: Readonly<Record<PhaseKind, ContainerState>> = {
  pending: ContainerState.assigned,
  preparing: ContainerState.preparing,
  starting: ContainerState.starting,
  running: ContainerState.running,
  stopping: ContainerState.stopping,
  waiting: ContainerState.failed,
  fenced: ContainerState.failed,
  complete: ContainerState.complete,
  failed: ContainerState.failed,
  rejected: ContainerState.rejected,
  removing: ContainerState.complete,
  removed: ContainerState.complete,
};

const passing: ReadonlySet<PhaseKind> = new Set(['pending', 'preparing', 'starting', 'stopping']);

/** Whether a container usually leaves the phase within milliseconds. */
export function isPassing(kind: PhaseKind): boolean {
  return passing.has(kind);
}

/** The record as the control plane is told it; epoch and sequence are set by the sender. */
export function statusOf(record: ContainerRecord, node: string): ContainerStatus {
  const { run, exit } = record;
  return ContainerStatus.create({
    id: record.id,
    node,
    state: record.end === undefined ? states[record.phase.kind] : ContainerState[record.end],
    final: record.end !== undefined,
    health: record.health,
    ready: record.ready,
    reason: record.reason,
    exitCode: exit?.exitCode ?? 0,
    signal: exit?.signal ?? 0,
    oomKilled: exit?.oomKilled ?? false,
    restarts: record.restarts,
    pid: run?.pid ?? 0,
    address: record.address,
    imageDigest: record.imageDigest,
    startedAt: run?.startedAtUs ?? exit?.startedAtUs ?? 0,
    finishedAt: exit?.exitedAtUs ?? 0,
    updatedAt: record.changedAtUs,
    lastReason: record.lastReason,
    lastExitCode: record.lastExitCode,
  });
}
