import { ManualClock } from '@gantry/common';
import { ContainerState, ContainerStatus } from '@gantry/proto';
import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import { Outbox } from './outbox.ts';

const firm = { passing: false };
const passing = { passing: true };
let clock: ManualClock;
let outbox: Outbox;
let pending: number;

function status(id: string, state: ContainerState = ContainerState.running): ContainerStatus {
  return ContainerStatus.create({ id, state });
}

beforeEach(() => {
  clock = new ManualClock();
  pending = 0;
  outbox = new Outbox({ clock, epoch: 7, onPending: () => pending++ });
});

test('only the newest status of a container is kept, in the order of change', () => {
  outbox.put(status('a'), firm);
  outbox.put(status('b'), firm);
  outbox.put(status('a', ContainerState.failed), firm);
  const batch = outbox.take();
  expect(batch?.statuses.map(({ id, state, epoch, sequence }) => [id, state, epoch, sequence])).toEqual([
    ['b', ContainerState.running, 7, 2],
    ['a', ContainerState.failed, 7, 3],
  ]);
  expect(batch?.sequence).toBe(3);
  expect(outbox.take()).toBeUndefined();
  expect(pending).toBe(3);
});

test('a passing status is told only when it lasts', async () => {
  outbox.put(status('a', ContainerState.preparing), passing);
  await clock.advance(50);
  outbox.put(status('a'), firm);
  await clock.advance(200);
  expect(outbox.take()?.statuses.map(({ state }) => state)).toEqual([ContainerState.running]);
  outbox.put(status('b', ContainerState.preparing), passing);
  outbox.put(status('b', ContainerState.starting), passing);
  await clock.advance(100);
  expect(outbox.take()?.statuses.map(({ state }) => state)).toEqual([ContainerState.starting]);
});

test('what is acknowledged is forgotten, what came later stays', () => {
  outbox.put(status('a'), firm);
  const first = outbox.take();
  outbox.put(status('a', ContainerState.failed), firm);
  outbox.acknowledge(first!.sequence);
  expect(outbox.size).toBe(1);
  expect(outbox.take()?.statuses[0]?.state).toBe(ContainerState.failed);
});

test('a removal is told with the last status that was not acknowledged', () => {
  outbox.put(status('a', ContainerState.complete), firm);
  outbox.removed('a');
  expect(outbox.take()).toMatchObject({
    sequence: 2,
    removed: ['a'],
    statuses: [{ id: 'a', state: ContainerState.complete, sequence: 2 }],
  });
});

test('what was sent but not acknowledged is sent again on a new connection', () => {
  outbox.put(status('a'), firm);
  const first = outbox.take();
  outbox.reconnected();
  expect(outbox.take()).toEqual(first);
});

test('large numbers go in batches', () => {
  for (let index = 0; index < 600; index++) outbox.put(status(`c${index}`), firm);
  expect([outbox.take(), outbox.take(), outbox.take()].map((batch) => batch?.statuses.length)).toEqual([250, 250, 100]);
});

test('nothing is lost over any mix of changes, losses of the connection and acknowledgements', () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant('put' as const), id: fc.constantFrom('a', 'b', 'c') }),
    fc.record({ kind: fc.constantFrom('take' as const, 'ack' as const, 'reconnect' as const) }),
  );
  fc.assert(
    fc.property(fc.array(action), (actions) => {
      const box = new Outbox({ clock, epoch: 1, onPending: () => {} });
      const newest = new Map<string, number>();
      const known = new Map<string, number>();
      let stamp = 0;
      let taken: ReturnType<Outbox['take']>;
      const receive = () => {
        taken = box.take() ?? taken;
        for (const one of taken?.statuses ?? []) known.set(one.id, Math.max(known.get(one.id) ?? 0, one.updatedAt));
      };
      for (const one of actions) {
        if (one.kind === 'put') {
          newest.set(one.id, ++stamp);
          box.put(ContainerStatus.create({ id: one.id, updatedAt: stamp }), firm);
        } else if (one.kind === 'take') receive();
        else if (one.kind === 'ack' && taken) box.acknowledge(taken.sequence);
        else if (one.kind === 'reconnect') box.reconnected();
      }
      box.reconnected();
      receive();
      expect(known).toEqual(newest);
      expect(box.size).toBeLessThanOrEqual(3);
    }),
  );
});
