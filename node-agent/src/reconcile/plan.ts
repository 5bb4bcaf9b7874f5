import { type Assignment, AssignmentDesired, ContainerHealth, ServiceSpecDisconnect } from '@gantry/proto';
import type { ContainerRecord } from './container.ts';
import { type Step, stepOrder } from './steps.ts';

const defaultGraceMs = 10_000;

export interface PlanInput {
  /** By container id: the last accepted assignments. */
  desired: ReadonlyMap<string, Assignment>;
  /** Whether `desired` is known to be the whole truth. Until then nothing is stopped for not being in it. */
  whole: boolean;
  records: ReadonlyMap<string, ContainerRecord>;
  nowMs: number;
  /** Whether containers can be started at all: not before the node has its place in the cluster's network. */
  mayStart: boolean;
  /**
   * Contact with the control plane. `cutOff`: it may replace this node's containers, so those that must
   * not run twice are stopped; they are started only while it is `connected`.
   */
  link: 'unknown' | 'connected' | 'cutOff';
  /** Time between the stop signal and the kill of a container that fences itself, milliseconds. */
  fenceGraceMs: number;
}

export interface Plan {
  steps: Step[];
  /** When time alone will ask for the next step. */
  wakeAtMs: number | undefined;
}

/** Names the limits of an assignment that can be changed while it runs. */
function limitsKey(assignment: Assignment): string {
  return JSON.stringify([assignment.spec?.limits ?? null, assignment.spec?.reservation?.cpuMillis ?? 0]);
}

/** Whether the container must stop itself when the node is cut off. */
export function fences(assignment: Assignment): boolean {
  return assignment.spec?.disconnect === ServiceSpecDisconnect.stop;
}

/** What to do now so that what runs becomes what is desired; at most one step a container. */
export function plan(input: PlanInput): Plan {
  const steps: Step[] = [];
  let wakeAtMs: number | undefined;
  for (const id of new Set([...input.desired.keys(), ...input.records.keys()])) {
    const record = input.records.get(id);
    const assignment = input.desired.get(id) ?? (input.whole ? undefined : (record?.assignment ?? undefined));
    const keep = assignment ? assignment.desired === AssignmentDesired.run : !input.whole;
    const step = keep ? planRun(id, record, assignment, input) : planStop(id, record, assignment);
    const due = step ?? planKill(record, input.nowMs);
    if (due) steps.push(due);
    const wake = due ? undefined : wakeOf(record);
    if (wake !== undefined && (wakeAtMs === undefined || wake < wakeAtMs)) wakeAtMs = wake;
  }
  steps.sort((a, b) => stepOrder[a.kind] - stepOrder[b.kind] || byImportance(input.desired, a.id, b.id));
  return { steps, wakeAtMs };
}

function byImportance(desired: ReadonlyMap<string, Assignment>, a: string, b: string): number {
  const [one, other] = [desired.get(a), desired.get(b)];
  return (other?.spec?.priority ?? 0) - (one?.spec?.priority ?? 0) || (one?.createdAt ?? 0) - (other?.createdAt ?? 0);
}

function wakeOf(record: ContainerRecord | undefined): number | undefined {
  if (record?.phase.kind === 'waiting') return record.phase.dueMs;
  if (record?.phase.kind === 'stopping') return record.phase.killAtMs;
  return undefined;
}

function planKill(record: ContainerRecord | undefined, nowMs: number): Step | undefined {
  if (record?.phase.kind !== 'stopping') return undefined;
  const { run, kills, killAtMs } = record.phase;
  if (!run || nowMs < killAtMs) return undefined;
  if (kills === 0) return { kind: 'kill', id: record.id, reason: 'its time to stop is over' };
  return { kind: 'abandon', id: record.id, reason: 'it outlived its kill' };
}

/** A container that is to run (or, without an assignment, is to be left as it is). */
function planRun(id: string, record: ContainerRecord | undefined, assignment: Assignment | undefined, input: PlanInput): Step | undefined {
  const fencing = assignment !== undefined && fences(assignment);
  const mayStart = assignment !== undefined && input.mayStart && (!fencing || input.link === 'connected');
  const start = (reason: string): Step | undefined => (mayStart ? { kind: 'start', id, reason } : undefined);
  if (!record) return start('assigned');
  switch (record.phase.kind) {
    case 'pending':
      return start('assigned');
    case 'waiting':
      return input.nowMs >= record.phase.dueMs ? start('its back-off is over') : undefined;
    case 'fenced':
      return start('the control plane is back');
    case 'preparing':
    case 'starting':
    case 'running':
      if (fencing && input.link === 'cutOff') return fence(id, input.fenceGraceMs);
      return assignment && record.phase.kind === 'running' ? planRunning(record, assignment) : undefined;
    default:
      return undefined;
  }
}

function fence(id: string, graceMs: number): Step {
  return { kind: 'stop', id, goal: 'fenced', graceMs, reason: 'fenced: the control plane is out of reach and may run it elsewhere' };
}

function planRunning(record: ContainerRecord, assignment: Assignment): Step | undefined {
  if (record.health === ContainerHealth.unhealthy) {
    return { kind: 'stop', id: record.id, goal: 'restart', graceMs: graceMs(assignment), reason: record.reason || 'unhealthy' };
  }
  if (record.assignment && limitsKey(record.assignment) === limitsKey(assignment)) return undefined;
  return { kind: 'update', id: record.id, reason: 'its limits changed' };
}

function graceMs(assignment: Assignment | null | undefined): number {
  const graceUs = assignment?.spec?.container?.stopGraceUs ?? 0;
  return graceUs > 0 ? graceUs / 1000 : defaultGraceMs;
}

/** A container that is to go. */
function planStop(id: string, record: ContainerRecord | undefined, assignment: Assignment | undefined): Step | undefined {
  const reason = assignment?.reason || (assignment ? 'stopped' : 'nobody asks for it any more');
  if (!record) return { kind: 'forget', id, reason };
  const { phase } = record;
  switch (phase.kind) {
    case 'pending':
    case 'preparing':
    case 'starting':
    case 'running':
    case 'waiting':
    case 'fenced':
      return { kind: 'stop', id, reason, goal: 'complete', graceMs: graceMs(assignment ?? record.assignment) };
    case 'stopping':
      return phase.goal === 'complete'
        ? undefined
        : { kind: 'stop', id, reason, goal: 'complete', graceMs: graceMs(assignment ?? record.assignment) };
    case 'complete':
    case 'failed':
    case 'rejected':
      return { kind: 'remove', id, reason };
    case 'removing':
      return undefined;
    case 'removed':
      return assignment ? undefined : { kind: 'drop', id, reason };
  }
}
