import { AssignmentDesired, NodeSettingsAvailability as Availability, NodeSettings, Operation, OperationState } from '@gantry/proto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type DrainContainer, type DrainInput, planDrain } from './drain-plan.ts';

const settings = (availability: Availability = Availability.active) =>
  NodeSettings.create({ name: 'n1', availability, labels: { disk: 'ssd' } });
const container = (name: string, init: Partial<DrainContainer> = {}): DrainContainer => ({
  name,
  desired: AssignmentDesired.run,
  obstacle: '',
  ...init,
});
const asked = Operation.create({ id: 'o', kind: 'drain', subject: 'node/n1', createdAt: 1000 });
const input = (init: Partial<DrainInput> = {}): DrainInput => ({
  operation: asked,
  settings: settings(),
  containers: [],
  now: 2000,
  ...init,
});

/** The drain after its first step, with these containers. */
function begun(...containers: DrainContainer[]): DrainInput {
  const { operation } = planDrain(input({ containers }));
  return input({ operation, settings: settings(Availability.draining), containers });
}
const steps = (operation: Operation) => operation.steps.map((step) => `${step.name}:${step.state} ${step.detail}`);

test('it begins by closing the node and keeps what an operator said of it', () => {
  const plan = planDrain(input({ containers: [container('a/s.1'), container('a/s.2')] }));
  expect(plan.settings).toMatchObject({ availability: Availability.draining, labels: { disk: 'ssd' } });
  expect(plan.operation).toMatchObject({ state: OperationState.running, done: 0, total: 2 });
  expect(steps(plan.operation)).toEqual([
    'cordon:2 n1 takes no new containers',
    'replace:1 0 of 2 have another place',
    'stop:0 0 of 2 have gone',
  ]);
});

test('it shows what has another place and what has gone, and ends when nothing is left', () => {
  const start = begun(container('a/s.1'), container('a/s.2'));
  const half = planDrain({ ...start, containers: [container('a/s.1', { desired: AssignmentDesired.stop }), container('a/s.2')] });
  expect(steps(half.operation).slice(1)).toEqual(['replace:1 1 of 2 have another place', 'stop:1 0 of 2 have gone']);
  const one = planDrain({ ...start, operation: half.operation, containers: [container('a/s.2', { desired: AssignmentDesired.stop })] });
  expect(one.operation).toMatchObject({ done: 1, total: 2, message: '1 of 2 containers have gone' });
  expect(steps(one.operation).slice(1)).toEqual(['replace:2 2 of 2 have another place', 'stop:1 1 of 2 have gone']);
  const end = planDrain({ ...start, operation: one.operation, containers: [], now: 9000 });
  expect(end.operation).toMatchObject({ state: OperationState.succeeded, done: 2, finishedAt: 9000 });
  expect(end.operation.steps.every((step) => step.state === OperationState.succeeded)).toBe(true);
  expect(end.settings).toBeUndefined();
});

test('nothing new is nothing to write', () => {
  const start = begun(container('a/s.1'));
  expect(planDrain({ ...start, now: 3000 })).toEqual({ operation: start.operation, settings: undefined });
  expect(planDrain({ ...start, now: 3000 }).operation).toBe(start.operation);
});

test('it says which container has no other place, and why', () => {
  const start = begun(container('a/db.1', { obstacle: 'no node has cpu 64' }));
  expect(start.operation.message).toBe('0 of 1 containers have gone; a/db.1 has no other place: no node has cpu 64');
});

test('cancelled, out of time, opened by somebody or without a node it ends, and the node takes nothing new on its account', () => {
  const start = begun(container('a/s.1'));
  const cancelled = planDrain({ ...start, operation: { ...start.operation, cancelRequested: true } });
  expect(cancelled).toMatchObject({ operation: { state: OperationState.cancelled }, settings: { availability: Availability.cordoned } });
  const timed = { ...start, operation: { ...start.operation, parameters: { deadlineUs: '5000' } } };
  expect(planDrain({ ...timed, now: 5999 }).operation.state).toBe(OperationState.running);
  const late = planDrain({ ...timed, now: 6000 });
  expect(late).toMatchObject({ operation: { state: OperationState.failed }, settings: { availability: Availability.cordoned } });
  expect(late.operation.message).toContain('a/s.1');
  expect(planDrain({ ...start, settings: settings(Availability.active) })).toMatchObject({
    operation: { state: OperationState.cancelled },
    settings: undefined,
  });
  expect(planDrain({ ...start, settings: undefined }).operation.state).toBe(OperationState.failed);
  expect(planDrain(input({ settings: NodeSettings.create({ name: 'n1', removed: true }) })).operation.state).toBe(OperationState.failed);
});

test('whatever happens, done never exceeds total, and looking again at the same thing changes nothing', () => {
  const some = fc.array(
    fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      desired: fc.constantFrom(0 as const, 1 as const),
      obstacle: fc.constantFrom('', 'x'),
    }),
    {
      maxLength: 5,
    },
  );
  fc.assert(
    fc.property(fc.array(some, { minLength: 1, maxLength: 8 }), (rounds) => {
      let operation = asked;
      let node = settings();
      for (const [index, containers] of rounds.entries()) {
        const plan = planDrain({ operation, settings: node, containers, now: 2000 + index });
        operation = plan.operation;
        node = plan.settings ?? node;
        expect(operation.done).toBeLessThanOrEqual(operation.total);
        if (operation.state !== OperationState.running) {
          expect(containers).toEqual([]);
          return;
        }
        const again = planDrain({ operation, settings: node, containers, now: 9000 });
        if (containers.length > 0) expect(again.operation).toBe(operation);
      }
    }),
  );
});
