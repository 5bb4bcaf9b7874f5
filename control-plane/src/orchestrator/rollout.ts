import {
  Rollout,
  type RolloutRequestRecord,
  RolloutState,
  type Service,
  type ServiceSpec,
  ServiceSpecMode,
  UpdatePolicy,
  UpdatePolicyFailureAction,
} from '@gantry/proto';

const defaultMonitorUs = 5e6;
const defaultDeadlineUs = 600e6;
/** Progress within a batch is recorded at most this often. */
const progressEveryUs = 1e6;

/** As `batchReadyAt`: no batch has been let go yet, the first may go at once. */
const noBatch = 1;

/** States in which containers are being brought to the target. */
function isMoving(state: RolloutState): boolean {
  return state === RolloutState.updating || state === RolloutState.rolling_back;
}

/** Whether the rollout waits for a user. */
export function isHeld({ state }: Rollout): boolean {
  return state === RolloutState.paused || state === RolloutState.failed;
}

/** The containers of the service against the target, counted by slot. */
export interface RolloutFacts {
  /** Slots wanted. */
  readonly total: number;
  /** Slots that still run only another revision. */
  readonly outdated: number;
  /** Slots whose container of the target revision is ready (or complete, for a job). */
  readonly ready: number;
  /** Slots whose container of the target failed since the rollout began. */
  readonly failed: number;
  /** Why the first of those failed. */
  readonly failure: string;
}

/** Inputs of the rollout that change when users speak. */
export interface RolloutWishes {
  readonly service: Service;
  readonly request: RolloutRequestRecord | undefined;
  /** Whether two revisions give the same container. */
  readonly same: (left: number, right: number) => boolean;
  /** Whether a container of a revision is ready: there is something to go back to. */
  readonly works: (revision: number) => boolean;
}

/** What to do now. */
export interface RolloutStep {
  /** The record as it should stand. */
  readonly record: Rollout;
  /** How many outdated slots may be replaced now. */
  readonly allow: number;
  /** When time alone may change the step, microseconds since the epoch; infinite for never. */
  readonly waitUntilUs: number;
}

/**
 * The record for the service's present generation: a new rollout when it needs other containers, the old one under the new number
 * when it only scales.
 */
export function followSpec(before: Rollout | undefined, { service, same, works }: RolloutWishes, nowUs: number): Rollout {
  const to = service.generation;
  const begin = (fromRevision: number): Rollout =>
    Rollout.create({
      key: service.key,
      state: RolloutState.updating,
      fromRevision,
      toRevision: to,
      targetRevision: to,
      startedAt: nowUs,
      updatedAt: nowUs,
      batchReadyAt: noBatch,
    });
  if (!before || before.state === RolloutState.idle) return begin(0);
  if (before.toRevision === to) return before;
  if (same(to, before.targetRevision)) return { ...before, toRevision: to, targetRevision: to };
  // The same containers that were just rolled back or stopped: scaling a service does not try them again.
  if (same(to, before.toRevision)) return { ...before, toRevision: to };
  const settled = before.state === RolloutState.completed || before.state === RolloutState.rolled_back;
  if (settled || (before.fromRevision === 0 && works(before.targetRevision))) return begin(before.targetRevision);
  return begin(before.fromRevision);
}

/** Starts over when containers of the target revision itself are to be replaced (a restart was asked for). */
export function followRestart(record: Rollout, facts: RolloutFacts, nowUs: number): Rollout {
  if (facts.outdated === 0 || isMoving(record.state) || record.state === RolloutState.paused || record.state === RolloutState.failed)
    return record;
  const { targetRevision } = record;
  return {
    ...record,
    state: RolloutState.updating,
    fromRevision: targetRevision,
    reason: '',
    startedAt: nowUs,
    updatedAt: nowUs,
    batchReadyAt: noBatch,
    failedContainers: 0,
    updated: 0,
  };
}

/** Follows the user's wish to pause or to go on. */
export function followRequest(record: Rollout, request: RolloutRequestRecord | undefined, nowUs: number): Rollout {
  if (!request) return record;
  if (request.paused && record.state === RolloutState.updating) {
    return { ...record, state: RolloutState.paused, reason: `paused by ${request.requestedBy || 'a user'}`, updatedAt: nowUs };
  }
  if (!request.paused && record.state === RolloutState.paused && request.requestedAt > record.updatedAt) {
    // What failed before is forgiven: only containers made from now on count.
    return {
      ...record,
      state: RolloutState.updating,
      reason: '',
      startedAt: nowUs,
      updatedAt: nowUs,
      batchReadyAt: noBatch,
      failedContainers: 0,
    };
  }
  return record;
}

/** The policy that the present direction goes by. A job's containers are all replaced at once, and it may take its time. */
export function policyOf(spec: ServiceSpec, state: RolloutState): UpdatePolicy {
  if (spec.mode === ServiceSpecMode.replicated_job || spec.mode === ServiceSpecMode.global_job) {
    return UpdatePolicy.create({ failureAction: UpdatePolicyFailureAction.proceed, progressDeadlineUs: Number.MAX_SAFE_INTEGER / 4 });
  }
  const policy = state === RolloutState.rolling_back ? (spec.rollback ?? spec.update) : spec.update;
  return policy ?? UpdatePolicy.create({ parallelism: 1 });
}

/** One step of the machine: fail, wait, let the next batch go, or finish. Pure; the record is all its memory. */
export function stepRollout(record: Rollout, facts: RolloutFacts, policy: UpdatePolicy, nowUs: number): RolloutStep {
  const noted = noteProgress(recover(notInFuture(record, nowUs), facts), facts, nowUs);
  if (!isMoving(noted.state)) return { record: noted, allow: 0, waitUntilUs: Number.POSITIVE_INFINITY };
  const trouble = troubleOf(noted, facts, policy, nowUs);
  if (trouble !== undefined) return fail(noted, trouble, policy, nowUs);
  const deadlineUs = noted.updatedAt + (policy.progressDeadlineUs || defaultDeadlineUs);
  if (facts.ready + facts.outdated < facts.total) {
    const waiting = noted.batchReadyAt === 0 ? noted : { ...noted, batchReadyAt: 0 };
    return { record: waiting, allow: 0, waitUntilUs: deadlineUs };
  }
  return endBatch(noted, facts, policy, { nowUs, deadlineUs });
}

/** A leader whose clock was ahead may have written it: what lies in the future would hold the rollout up. */
function notInFuture(record: Rollout, nowUs: number): Rollout {
  if (record.updatedAt <= nowUs && record.batchReadyAt <= nowUs && record.startedAt <= nowUs) return record;
  const { updatedAt, batchReadyAt, startedAt } = record;
  return {
    ...record,
    updatedAt: Math.min(updatedAt, nowUs),
    batchReadyAt: Math.min(batchReadyAt, nowUs),
    startedAt: Math.min(startedAt, nowUs),
  };
}

/** A first rollout that was given up counts again once all of it runs. */
function recover(record: Rollout, facts: RolloutFacts): Rollout {
  const runs = record.state === RolloutState.failed && facts.outdated === 0 && facts.ready === facts.total;
  return runs ? { ...record, state: RolloutState.updating, reason: '' } : record;
}

function batchSize(policy: UpdatePolicy, facts: RolloutFacts): number {
  return policy.parallelism === 0 ? facts.outdated : Math.min(policy.parallelism, facts.outdated);
}

/** Everything that was begun is ready: wait until it has stayed so, then go on or finish. */
function endBatch(
  record: Rollout,
  facts: RolloutFacts,
  policy: UpdatePolicy,
  { nowUs, deadlineUs }: { nowUs: number; deadlineUs: number },
): RolloutStep {
  const isFirst = record.fromRevision === 0;
  // The first containers of a service replace nothing that worked: they are watched only when that was asked for.
  const monitorUs = isFirst ? policy.monitorUs : policy.monitorUs || defaultMonitorUs;
  const readyAt = record.batchReadyAt || nowUs;
  const nextUs = readyAt + monitorUs + (facts.outdated > 0 ? policy.delayUs : 0);
  if (readyAt !== noBatch && nowUs < nextUs) return { record: { ...record, batchReadyAt: readyAt }, allow: 0, waitUntilUs: nextUs };
  const updatedAt = facts.ready > record.updated ? nowUs : record.updatedAt;
  if (facts.outdated > 0) {
    // The next batch is under way from here on; when it finds no place it is let go again after another health window.
    return {
      record: { ...record, batchReadyAt: 0, updated: facts.ready, updatedAt },
      allow: batchSize(policy, facts),
      waitUntilUs: deadlineUs,
    };
  }
  const state = record.state === RolloutState.rolling_back ? RolloutState.rolled_back : RolloutState.completed;
  const finished = { ...record, state, batchReadyAt: readyAt, updated: facts.ready, updatedAt: nowUs };
  return { record: finished, allow: 0, waitUntilUs: Number.POSITIVE_INFINITY };
}

function noteProgress(record: Rollout, facts: RolloutFacts, nowUs: number): Rollout {
  let next = record;
  if (next.total !== facts.total) next = { ...next, total: facts.total };
  if (!isMoving(record.state)) return next;
  if (facts.failed > next.failedContainers) next = { ...next, failedContainers: facts.failed };
  if (facts.ready > next.updated && nowUs - next.updatedAt >= progressEveryUs) next = { ...next, updated: facts.ready, updatedAt: nowUs };
  return next;
}

function troubleOf(record: Rollout, facts: RolloutFacts, policy: UpdatePolicy, nowUs: number): string | undefined {
  const isFirst = record.fromRevision === 0;
  const done = facts.ready === facts.total;
  if (!done && nowUs >= record.updatedAt + (policy.progressDeadlineUs || defaultDeadlineUs)) {
    return `no progress for ${Math.round((policy.progressDeadlineUs || defaultDeadlineUs) / 1e6)} s: ${facts.ready} of ${facts.total} ready`;
  }
  if (isFirst || facts.total === 0 || policy.failureAction === UpdatePolicyFailureAction.proceed) return undefined;
  if (facts.failed / facts.total <= policy.maxFailureRatio) return undefined;
  return `${facts.failed} of ${facts.total} failed: ${facts.failure}`;
}

function fail(record: Rollout, reason: string, policy: UpdatePolicy, nowUs: number): RolloutStep {
  const waitUntilUs = Number.POSITIVE_INFINITY;
  if (record.state === RolloutState.rolling_back || record.fromRevision === 0) {
    return { record: { ...record, state: RolloutState.failed, reason, updatedAt: nowUs }, allow: 0, waitUntilUs };
  }
  const canRollBack = record.fromRevision !== record.targetRevision;
  if (policy.failureAction !== UpdatePolicyFailureAction.rollback || !canRollBack) {
    return { record: { ...record, state: RolloutState.paused, reason, updatedAt: nowUs }, allow: 0, waitUntilUs };
  }
  const back: Rollout = {
    ...record,
    state: RolloutState.rolling_back,
    reason,
    targetRevision: record.fromRevision,
    startedAt: nowUs,
    updatedAt: nowUs,
    batchReadyAt: noBatch,
    updated: 0,
  };
  return { record: back, allow: 0, waitUntilUs: nowUs };
}
