import { Code, GantryError } from '@gantry/common';
import { type Assignment, ContainerHealth } from '@gantry/proto';
import type { Exit, Run } from '../runtime/runtime.ts';
import type { RestartDecision } from './restart.ts';

/** What a stop leads to once the process is gone. */
export type StopGoal = 'complete' | 'restart' | 'fenced';

/** Where a container stands in its life on this node. Times are monotonic milliseconds. */
type Phase =
  | { kind: 'pending' }
  | { kind: 'preparing' }
  | { kind: 'starting' }
  | { kind: 'running'; run: Run }
  /** Without a run its start is being called off. `kills` counts the attempts so far; the next is due at `killAtMs`. */
  | { kind: 'stopping'; run: Run | undefined; goal: StopGoal; killAtMs: number; kills: number }
  /** Failed; starts again at `dueMs`. */
  | { kind: 'waiting'; dueMs: number }
  /** Stopped because the control plane is out of reach; starts again when it is back. */
  | { kind: 'fenced' }
  | { kind: 'complete' }
  | { kind: 'failed' }
  | { kind: 'rejected' }
  | { kind: 'removing' }
  | { kind: 'removed' };
export type PhaseKind = Phase['kind'];
type PhaseOf<K extends PhaseKind> = Extract<Phase, { kind: K }>;

/** What the agent knows of one container. Values are replaced, never changed. */
export interface ContainerRecord {
  readonly id: string;
  /** The newest assignment it was started by; null for a container found without one. */
  readonly assignment: Assignment | null;
  readonly phase: Phase;
  /** How its life ended, once it did: kept while it is removed. */
  readonly end: 'complete' | 'failed' | 'rejected' | undefined;
  readonly restarts: number;
  /** Failures in a row, which the back-off counts. */
  readonly failures: number;
  /** Why it is in its phase. */
  readonly reason: string;
  readonly lastReason: string;
  readonly lastExitCode: number;
  /** How its last run ended, until it starts again. */
  readonly exit: Exit | undefined;
  readonly run: Run | undefined;
  readonly address: string;
  readonly imageDigest: string;
  readonly health: ContainerHealth;
  readonly ready: boolean;
  /** Wall clock of the last change, microseconds. */
  readonly changedAtUs: number;
}

export type ContainerEvent =
  | { kind: 'prepare'; assignment: Assignment; address: string }
  | { kind: 'launch'; imageDigest: string }
  | { kind: 'started'; run: Run; health: ContainerHealth; ready: boolean }
  | { kind: 'startFailed'; reason: string; decision: RestartDecision }
  | { kind: 'exited'; exit: Exit; decision: RestartDecision }
  | { kind: 'health'; health: ContainerHealth; ready: boolean; reason: string }
  | { kind: 'stop'; goal: StopGoal; killAtMs: number; reason: string }
  | { kind: 'updated'; assignment: Assignment }
  | { kind: 'killed'; nextAtMs: number }
  | { kind: 'remove' }
  | { kind: 'removed' };
export type EventKind = ContainerEvent['kind'];
type EventOf<K extends EventKind> = Extract<ContainerEvent, { kind: K }>;

/** A moment on both clocks. */
export interface Moment {
  readonly ms: number;
  readonly us: number;
}

/** A container of which nothing has been done yet. */
export function newRecord(id: string, assignment: Assignment | null, nowUs: number): ContainerRecord {
  return {
    id,
    assignment,
    phase: { kind: 'pending' },
    end: undefined,
    restarts: 0,
    failures: 0,
    reason: '',
    lastReason: '',
    lastExitCode: 0,
    exit: undefined,
    run: undefined,
    address: '',
    imageDigest: '',
    health: ContainerHealth.none,
    ready: false,
    changedAtUs: nowUs,
  };
}

type Move<K extends EventKind> = (record: ContainerRecord, event: EventOf<K>, now: Moment) => Partial<ContainerRecord>;
type Moves = { [K in EventKind]: Partial<Record<PhaseKind, Move<K>>> };

const stopped = { ready: false, health: ContainerHealth.none } as const;

function prepare(_record: ContainerRecord, { assignment, address }: EventOf<'prepare'>): Partial<ContainerRecord> {
  return { phase: { kind: 'preparing' }, assignment, address, reason: '' };
}

/** Starts again. Only a run counts as restarted, not a start that failed. */
function again(record: ContainerRecord, event: EventOf<'prepare'>): Partial<ContainerRecord> {
  const restarts = record.restarts + (record.exit ? 1 : 0);
  return { ...prepare(record, event), restarts, exit: undefined, ...stopped };
}

/** The phase after a failure or an end, by the policy's decision. */
function settle(record: ContainerRecord, decision: RestartDecision, now: Moment): Partial<ContainerRecord> {
  const last = { ...stopped, reason: decision.reason, run: undefined };
  if (decision.kind === 'complete') return { ...last, phase: { kind: 'complete' }, end: 'complete' };
  const failed = { ...last, lastReason: decision.reason, lastExitCode: record.exit?.exitCode ?? 0, failures: decision.failures };
  if (decision.kind === 'restart') return { ...failed, phase: { kind: 'waiting', dueMs: now.ms + decision.delayMs } };
  return { ...failed, phase: { kind: decision.kind }, end: decision.kind };
}

/** What a stop was for, when the process is gone. */
function stopEnd(record: ContainerRecord, decision: RestartDecision, now: Moment): Partial<ContainerRecord> {
  const { goal } = record.phase as PhaseOf<'stopping'>;
  if (goal === 'restart') return settle(record, decision, now);
  const end = { ...stopped, run: undefined };
  return goal === 'fenced' ? { ...end, phase: { kind: 'fenced' } } : { ...end, phase: { kind: 'complete' }, end: 'complete' };
}

const stopAtOnce: Move<'stop'> = (_record, event) => ({
  ...stopped,
  reason: event.reason,
  ...(event.goal === 'fenced' ? { phase: { kind: 'fenced' } } : { phase: { kind: 'complete' }, end: 'complete' }),
});

const beginStop: Move<'stop'> = (record, event) => ({
  ready: false,
  reason: event.reason,
  phase: { kind: 'stopping', run: record.run, goal: event.goal, killAtMs: event.killAtMs, kills: 0 },
});

const startFailed: Move<'startFailed'> = (record, event, now) => settle(record, event.decision, now);

const remove: Move<'remove'> = () => ({ phase: { kind: 'removing' } });

/** Every legal move: event by phase. What is not here throws. */
const moves: Moves = {
  prepare: {
    pending: prepare,
    waiting: again,
    fenced: again,
  },
  launch: { preparing: (_record, { imageDigest }) => ({ phase: { kind: 'starting' }, imageDigest }) },
  started: {
    starting: (_record, { run, health, ready }) => ({ phase: { kind: 'running', run }, run, health, ready, exit: undefined, reason: '' }),
    stopping: (record, { run }) => ({ phase: { ...(record.phase as PhaseOf<'stopping'>), run }, run, exit: undefined }),
  },
  startFailed: {
    pending: startFailed,
    waiting: startFailed,
    fenced: startFailed,
    preparing: startFailed,
    starting: startFailed,
    stopping: (record, event, now) => stopEnd(record, event.decision, now),
  },
  exited: {
    running: (record, { exit, decision }, now) => ({ exit, ...settle({ ...record, exit }, decision, now) }),
    stopping: (record, { exit, decision }, now) => ({ exit, ...stopEnd({ ...record, exit }, decision, now) }),
  },
  health: { running: (_record, { health, ready, reason }) => ({ health, ready, reason }) },
  updated: { running: (_record, { assignment }) => ({ assignment }), stopping: (_record, { assignment }) => ({ assignment }) },
  stop: {
    pending: stopAtOnce,
    waiting: stopAtOnce,
    fenced: stopAtOnce,
    preparing: beginStop,
    starting: beginStop,
    running: beginStop,
    // a stop for good overrides one for a restart; the signal has been sent already
    stopping: (record, event) => {
      const phase = record.phase as PhaseOf<'stopping'>;
      return { reason: event.reason, phase: { ...phase, goal: event.goal, killAtMs: Math.min(phase.killAtMs, event.killAtMs) } };
    },
  },
  killed: {
    stopping: (record, { nextAtMs }) => {
      const phase = record.phase as PhaseOf<'stopping'>;
      return { phase: { ...phase, kills: phase.kills + 1, killAtMs: nextAtMs } };
    },
  },
  remove: { complete: remove, failed: remove, rejected: remove },
  removed: { removing: () => ({ phase: { kind: 'removed' } }), pending: () => ({ phase: { kind: 'removed' }, end: 'complete' }) },
};

/** Whether the event may happen in the record's phase. */
export function allows(record: ContainerRecord, event: EventKind): boolean {
  return moves[event][record.phase.kind] !== undefined;
}

/**
 * The one place where a container changes its phase.
 * @throws GantryError internal for a move that does not exist.
 */
export function transition(record: ContainerRecord, event: ContainerEvent, now: Moment): ContainerRecord {
  const move = moves[event.kind][record.phase.kind] as Move<EventKind> | undefined;
  if (!move) {
    throw new GantryError(Code.internal, `cannot move container "${record.id}": no ${event.kind} while ${record.phase.kind}`);
  }
  return { ...record, ...move(record, event, now), changedAtUs: now.us };
}
