import { Code, ManualClock, silentLogger, systemClock } from '@gantry/common';
import {
  Assignment,
  AssignmentDesired,
  NodeSettingsAvailability as Availability,
  type Event,
  NodeSettings,
  Operation,
  OperationState,
} from '@gantry/proto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClusterView } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { Comparison } from '../store/store.ts';
import { startTestRedis } from '../usage/testing/redis.ts';
import { bullQueue } from './bull-queue.ts';
import { drain } from './drain.ts';
import { OperationLoop } from './loop.ts';
import type { OpenQueue } from './ports.ts';
import { createOperations, type Operations } from './records.ts';
import { FakeQueue } from './testing/fake-queue.ts';

let store: MemoryStore;
let view: ClusterView;
let clock: ManualClock;
let operations: Operations;
let fence: Comparison;
let ended: AbortController;
let events: (Partial<Event> & { type: string })[];
let loops: { loop: OperationLoop; term: AbortController }[];

const key = { namespace: 'default', app: 'shop', service: 'web' };

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryStore({ clock });
  ended = new AbortController();
  events = [];
  loops = [];
  view = new ClusterView({ store, signal: ended.signal });
  operations = createOperations({ store, view, clock, kinds: ['drain'], enabled: true });
  const { revision } = await put(keys.leader(), Buffer.from(''));
  fence = { kind: 'createRevision', key: keys.leader(), equals: revision };
  await put(keys.node('n1'), NodeSettings.encode(NodeSettings.create({ name: 'n1' })));
  for (const id of ['c1', 'c2']) await assign(id);
});
afterEach(async () => {
  for (const { loop, term } of loops) {
    term.abort();
    await loop.stop();
  }
  ended.abort();
});

async function put(name: string, value: Uint8Array) {
  const result = await store.transact({ compare: [], writes: [{ kind: 'put', key: name, value }] });
  await view.atLeast(result.revision, ended.signal);
  return result;
}

function assign(id: string, desired: AssignmentDesired = AssignmentDesired.run) {
  return put(keys.assignment('n1', id), Assignment.encode(Assignment.create({ id, node: 'n1', key, slot: 1, desired })));
}

async function remove(...ids: string[]): Promise<void> {
  await store.transact({ compare: [], writes: ids.map((id) => ({ kind: 'delete', key: keys.assignment('n1', id) })) });
}

function start(openQueue: OpenQueue, by = clock as ManualClock | typeof systemClock): OperationLoop {
  const term = new AbortController();
  const emit = (event: Partial<Event> & { type: string }) => void events.push(event);
  const loop = new OperationLoop({
    store,
    view,
    clock: by,
    log: silentLogger(),
    emit,
    fence,
    executors: { drain },
    openQueue,
    signal: term.signal,
  });
  loops.push({ loop, term });
  return loop;
}

const submit = (requestId = 'r1') =>
  operations.submit({ requestId, kind: 'drain', subject: 'node/n1', parameters: {}, createdBy: 'local' });

/** Resolves once the operation's record is so; what is due on the manual clock happens meanwhile. */
async function until(condition: (operation: Operation) => boolean, id = 'r1'): Promise<Operation> {
  for (;;) {
    const operation = view.operations.get(id)?.value;
    if (operation && condition(operation)) return operation;
    await clock.advance(0);
  }
}
const succeeded = (operation: Operation) => operation.state === OperationState.succeeded;

test('a drain closes the node, shows its progress and ends when nothing is left there', async () => {
  start(new FakeQueue().open);
  await submit();
  await until((operation) => operation.state === OperationState.running);
  expect(view.nodes.get('n1')?.value.availability).toBe(Availability.draining);
  await assign('c1', AssignmentDesired.stop);
  await until((operation) => operation.steps[1]?.detail === '1 of 2 have another place');
  await remove('c1');
  await until((operation) => operation.done === 1);
  await remove('c2');
  expect(await until(succeeded)).toMatchObject({ done: 2, total: 2, message: 'all 2 containers have gone' });
  expect(events.map((event) => event.type)).toEqual(['DrainStarted', 'DrainEnded']);
});

test('the same request is one operation; a second drain of the node is refused while the first goes on', async () => {
  const first = await submit();
  expect(await submit()).toEqual(first);
  await view.atLeast(await store.revision(), ended.signal);
  await expect(submit('r2')).rejects.toMatchObject({ code: Code.failedPrecondition, message: expect.stringContaining('r1') });
  await expect(submit('../x')).rejects.toMatchObject({ code: Code.invalidArgument });
  const without = createOperations({ store, view, clock, kinds: ['drain'], enabled: false });
  await expect(without.submit({ requestId: '', kind: 'drain', subject: 'x', parameters: {}, createdBy: '' })).rejects.toThrow('need Redis');
  await expect(operations.submit({ requestId: '', kind: 'dance', subject: 'x', parameters: {}, createdBy: '' })).rejects.toThrow('drain');
});

test('a cancelled drain ends with its node cordoned; one that nobody began just ends', async () => {
  await submit();
  expect(await operations.cancel('r1', 'ann')).toMatchObject({ state: OperationState.cancelled });
  await expect(operations.cancel('r1', 'ann')).rejects.toMatchObject({ code: Code.failedPrecondition });
  await expect(operations.cancel('nothing', 'ann')).rejects.toMatchObject({ code: Code.notFound });
  start(new FakeQueue().open);
  await view.atLeast(await store.revision(), ended.signal);
  await submit('r2');
  await until((operation) => operation.state === OperationState.running, 'r2');
  await operations.cancel('r2', 'ann');
  await until((operation) => operation.state === OperationState.cancelled, 'r2');
  expect(view.nodes.get('n1')?.value.availability).toBe(Availability.cordoned);
});

test('a deadline ends the drain and names what is left', async () => {
  start(new FakeQueue().open);
  await operations.submit({
    requestId: 'r1',
    kind: 'drain',
    subject: 'node/n1',
    parameters: { deadlineUs: '30000000' },
    createdBy: 'local',
  });
  await until((operation) => operation.state === OperationState.running);
  await clock.advance(31_000);
  expect((await until((operation) => operation.state === OperationState.failed)).message).toContain('shop/web.1');
});

test('a queue that is away delays a drain and one that forgets it or delivers it twice does it no harm', async () => {
  const queue = new FakeQueue();
  queue.isAway = true;
  const loop = start(queue.open);
  await submit();
  await clock.advance(10_000);
  expect(view.operations.get('r1')?.value.state).toBe(OperationState.pending);
  queue.isAway = false;
  await clock.advance(10_000);
  await until((operation) => operation.state === OperationState.running);
  queue.forget();
  const twice = [queue.deliver('r1'), loop.run('r1')];
  expect(twice[0]).toBe(twice[1]);
  await remove('c1', 'c2');
  await until(succeeded);
  await Promise.all(twice);
  expect(events.map((event) => event.type)).toEqual(['DrainStarted', 'DrainEnded']);
});

test('what a leader began the next one ends, and a leader that has lost its place writes nothing', async () => {
  const first = new FakeQueue();
  start(first.open);
  await submit();
  await until((operation) => operation.state === OperationState.running);
  const { revision } = await store.transact({ compare: [], writes: [{ kind: 'delete', key: keys.leader() }] });
  await view.atLeast(revision, ended.signal);
  await remove('c1', 'c2');
  await clock.advance(10_000);
  expect(view.operations.get('r1')?.value.state).toBe(OperationState.running);
  loops[0]!.term.abort();
  await loops[0]!.loop.stop();
  fence = { ...fence, equals: (await put(keys.leader(), Buffer.from('next'))).revision };
  start(new FakeQueue().open);
  await until(succeeded);
});

test('the queue is opened for the first operation and closed when there has been none for a while', async () => {
  const queue = new FakeQueue();
  start(queue.open);
  await clock.advance(20_000);
  expect(queue.opened).toBe(0);
  await remove('c1', 'c2');
  await submit();
  await until(succeeded);
  await clock.advance(70_000);
  expect([queue.opened, queue.closed]).toEqual([1, 1]);
});

test('ended operations are kept, but not for ever', async () => {
  const ended250 = Array.from({ length: 250 }, (_, index) =>
    Operation.create({ id: `old${index}`, state: OperationState.succeeded, finishedAt: index + 1 }),
  );
  for (const operation of ended250) await put(keys.operation(operation.id), Operation.encode(operation));
  start(new FakeQueue().open);
  await clock.advance(6000);
  expect(view.operations.size).toBe(200);
  expect(view.operations.has('old0')).toBe(false);
  expect(view.operations.has('old249')).toBe(true);
});

test('on a real Redis a drain survives the death of its worker and an emptied Redis', async () => {
  const redis = await startTestRedis();
  try {
    const openQueue = bullQueue({ address: redis.address, log: silentLogger() });
    start(openQueue, systemClock);
    await submit();
    await until((operation) => operation.state === OperationState.running);
    await remove('c1');
    await until((operation) => operation.done === 1);
    await redis.kill();
    await redis.start();
    // the worker goes with its term, as when the leader dies
    loops[0]!.term.abort();
    await loops[0]!.loop.stop();
    start(openQueue, systemClock);
    await remove('c2');
    expect(await until(succeeded)).toMatchObject({ done: 2 });
  } finally {
    for (const { loop, term } of loops.splice(0)) {
      term.abort();
      await loop.stop();
    }
    await redis.stop();
  }
});
