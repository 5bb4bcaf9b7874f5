import { type Assignment, AssignmentDesired, ContainerHealth, ServiceSpecDisconnect } from '@gantry/proto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { allows, type ContainerEvent, type ContainerRecord, newRecord, transition } from './container.ts';
import { anAssignment } from './fake-node.ts';
import { fences, type PlanInput, plan } from './plan.ts';
import type { Step } from './steps.ts';

const run = { pid: 1, startTime: '1', startedAtUs: 1 };
const exit = { exitCode: 1, signal: 0, oomKilled: false, startedAtUs: 1, exitedAtUs: 2, lost: false };
const restart = { kind: 'restart', delayMs: 1000, failures: 1, reason: 'exit code 1' } as const;
const failed = { kind: 'failed', failures: 1, reason: 'exit code 1' } as const;
const ids = ['a', 'b', 'c'];

const assignment = fc
  .record({ id: fc.constantFrom(...ids), stop: fc.boolean(), fence: fc.boolean() })
  .map(({ id, stop, fence }) =>
    anAssignment(
      id,
      { desired: stop ? AssignmentDesired.stop : AssignmentDesired.run },
      { disconnect: fence ? ServiceSpecDisconnect.stop : ServiceSpecDisconnect.keep },
    ),
  );

const event: fc.Arbitrary<ContainerEvent> = fc.constantFrom<ContainerEvent>(
  { kind: 'prepare', assignment: anAssignment('a'), address: '10.0.0.2' },
  { kind: 'launch', imageDigest: 'sha256:1' },
  { kind: 'started', run, health: ContainerHealth.none, ready: true },
  { kind: 'startFailed', reason: 'no', decision: restart },
  { kind: 'startFailed', reason: 'no', decision: { kind: 'rejected', failures: 1, reason: 'no' } },
  { kind: 'exited', exit, decision: restart },
  { kind: 'exited', exit, decision: failed },
  { kind: 'exited', exit, decision: { kind: 'complete', reason: 'exit code 0' } },
  { kind: 'health', health: ContainerHealth.unhealthy, ready: false, reason: 'sick' },
  { kind: 'stop', goal: 'complete', killAtMs: 500, reason: 'stop' },
  { kind: 'stop', goal: 'restart', killAtMs: 500, reason: 'sick' },
  { kind: 'stop', goal: 'fenced', killAtMs: 500, reason: 'fenced' },
  { kind: 'killed', nextAtMs: 1000 },
  { kind: 'remove' },
  { kind: 'removed' },
);

/** A record in a phase that a life of random, legal events leads to. */
const record: fc.Arbitrary<ContainerRecord> = fc
  .record({ id: fc.constantFrom(...ids), events: fc.array(event, { maxLength: 12 }), found: fc.boolean() })
  .map(({ id, events, found }) => {
    let state = newRecord(id, found ? anAssignment(id) : null, 0);
    for (const one of events) if (allows(state, one.kind)) state = transition(state, one, { ms: 0, us: 0 });
    return state;
  });

const input: fc.Arbitrary<PlanInput> = fc.record({
  desired: fc.array(assignment, { maxLength: 3 }).map((list) => new Map(list.map((one) => [one.id, one]))),
  records: fc.array(record, { maxLength: 3 }).map((list) => new Map(list.map((one) => [one.id, one]))),
  whole: fc.boolean(),
  nowMs: fc.integer({ min: 0, max: 2000 }),
  mayStart: fc.boolean(),
  link: fc.constantFrom('unknown', 'connected', 'cutOff'),
  fenceGraceMs: fc.constant(400),
});

/** Moves the records as the executors do when all goes well. */
function carryOut(records: Map<string, ContainerRecord>, step: Step, input: PlanInput): void {
  const now = { ms: input.nowMs, us: 0 };
  let state = records.get(step.id) ?? newRecord(step.id, null, 0);
  const apply = (one: ContainerEvent) => {
    state = transition(state, one, now);
  };
  const wanted: Assignment | null = input.desired.get(step.id) ?? state.assignment;
  switch (step.kind) {
    case 'start':
      apply({ kind: 'prepare', assignment: wanted!, address: '' });
      apply({ kind: 'launch', imageDigest: '' });
      apply({ kind: 'started', run, health: ContainerHealth.none, ready: true });
      break;
    case 'stop':
      apply({ kind: 'stop', goal: step.goal, killAtMs: now.ms + step.graceMs, reason: step.reason });
      break;
    case 'kill':
    case 'abandon':
      apply({ kind: 'killed', nextAtMs: now.ms + 10_000 });
      break;
    case 'update':
      apply({ kind: 'updated', assignment: wanted! });
      break;
    case 'remove':
      apply({ kind: 'remove' });
      apply({ kind: 'removed' });
      break;
    case 'forget':
      apply({ kind: 'removed' });
      break;
    case 'drop':
      records.delete(step.id);
      return;
  }
  records.set(step.id, state);
}

/** What the processes do by themselves: those that are asked to stop end, starts under way succeed, removals end. */
function elapse(records: Map<string, ContainerRecord>): void {
  for (const [id, state] of records) {
    const { phase } = state;
    const next: ContainerEvent | undefined =
      phase.kind === 'stopping'
        ? phase.run
          ? { kind: 'exited', exit, decision: restart }
          : { kind: 'startFailed', reason: 'called off', decision: restart }
        : phase.kind === 'preparing'
          ? { kind: 'launch', imageDigest: '' }
          : phase.kind === 'starting'
            ? { kind: 'started', run, health: ContainerHealth.none, ready: true }
            : phase.kind === 'removing'
              ? { kind: 'removed' }
              : undefined;
    if (next) records.set(id, transition(state, next, { ms: 0, us: 0 }));
  }
}

function isWanted(id: string, { desired, whole, records }: PlanInput): Assignment | undefined {
  const one = desired.get(id) ?? (whole ? undefined : (records.get(id)?.assignment ?? undefined));
  return one?.desired === AssignmentDesired.run ? one : undefined;
}

test('safety: one legal step a container, in the order of the table', () => {
  fc.assert(
    fc.property(input, (given) => {
      const { steps } = plan(given);
      expect(new Set(steps.map((step) => step.id)).size).toBe(steps.length);
      const records = new Map(given.records);
      for (const step of steps) carryOut(records, step, given);
    }),
    { numRuns: 2000 },
  );
});

test('safety: only what is wanted is started, and only where it cannot run twice', () => {
  fc.assert(
    fc.property(input, (given) => {
      for (const step of plan(given).steps) {
        if (step.kind !== 'start') continue;
        const wanted = isWanted(step.id, given);
        expect(wanted).toBeDefined();
        expect(given.mayStart).toBe(true);
        if (fences(wanted!)) expect(given.link).toBe('connected');
      }
    }),
    { numRuns: 2000 },
  );
});

test('safety: what runs and is wanted is stopped only for its health or to fence itself', () => {
  fc.assert(
    fc.property(input, (given) => {
      for (const step of plan(given).steps) {
        const state = given.records.get(step.id);
        const wanted = isWanted(step.id, given);
        if (step.kind !== 'stop' || state?.phase.kind !== 'running' || !wanted) continue;
        const fenced = fences(wanted) && given.link === 'cutOff';
        expect(fenced || state.health === ContainerHealth.unhealthy).toBe(true);
      }
    }),
    { numRuns: 2000 },
  );
});

test('safety: nothing is stopped or removed for being unknown before the whole truth is known', () => {
  fc.assert(
    fc.property(input, (given) => {
      for (const step of plan({ ...given, whole: false, desired: new Map() }).steps) {
        if (step.kind === 'stop') expect(step.goal).not.toBe('complete');
        expect(['remove', 'forget', 'drop']).not.toContain(step.kind);
      }
    }),
    { numRuns: 1000 },
  );
});

test('liveness: when time passes and nothing fails, what is wanted runs or has ended, what is not is gone', () => {
  fc.assert(
    fc.property(input, (given) => {
      const records = new Map(given.records);
      const world: PlanInput = { ...given, records, whole: true, mayStart: true, link: 'connected' };
      for (let turn = 0; turn < 12; turn++) {
        elapse(records);
        for (const step of plan({ ...world, nowMs: 100_000 * (turn + 1) }).steps) carryOut(records, step, world);
      }
      expect(plan({ ...world, nowMs: 10_000_000 }).steps).toEqual([]);
      for (const id of ids) {
        const kind = records.get(id)?.phase.kind;
        const desired = given.desired.get(id)?.desired;
        if (desired === undefined) expect(kind).toBeUndefined();
        else if (desired === AssignmentDesired.stop) expect(kind).toBe('removed');
        else expect(['running', 'complete', 'failed', 'rejected', 'removed', 'removing']).toContain(kind);
      }
    }),
    { numRuns: 1000 },
  );
});

test('a plan wakes up for the earliest of what waits', () => {
  const waiting = (id: string, dueMs: number): ContainerRecord => ({ ...newRecord(id, null, 0), phase: { kind: 'waiting', dueMs } });
  const desired = new Map(['a', 'b'].map((id) => [id, anAssignment(id)]));
  const records = new Map([waiting('a', 500), waiting('b', 300)].map((one) => [one.id, one]));
  const world: PlanInput = { desired, records, whole: true, nowMs: 0, mayStart: true, link: 'connected', fenceGraceMs: 400 };
  expect(plan(world)).toEqual({ steps: [], wakeAtMs: 300 });
  expect(plan({ ...world, nowMs: 300 })).toMatchObject({ steps: [{ kind: 'start', id: 'b' }], wakeAtMs: 500 });
});

test('an illegal move throws', () => {
  expect(() => transition(newRecord('a', null, 0), { kind: 'killed', nextAtMs: 0 }, { ms: 0, us: 0 })).toThrow('no killed while pending');
});
