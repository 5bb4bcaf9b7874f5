import { ManualClock } from '@gantry/common';
import { Assignment, AssignmentDesired, ContainerState, ContainerStatus, Gateway, Machine, NodeState, Service } from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { keys, root } from '../store/keys.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { Store, WatchOptions, Write } from '../store/store.ts';
import { containerName, joinContainer } from './container.ts';
import { type Change, ClusterView, serviceId } from './view.ts';

const web = { namespace: 'default', app: 'shop', service: 'web' };

function service(generation: number): Write {
  return { kind: 'put', key: keys.service(web), value: Service.encode(Service.create({ key: web, generation })) };
}

function assignment(id: string, node: string, init: Partial<Assignment> = {}): Write {
  const value = Assignment.create({ id, node, key: web, slot: 1, ...init });
  return { kind: 'put', key: keys.assignment(node, id), value: Assignment.encode(value) };
}

let store: MemoryStore;
let ended: AbortController;
let view: ClusterView;

/** Commits, and waits until the view shows it. */
async function commit(...writes: Write[]): Promise<void> {
  const { revision } = await store.transact({ compare: [], writes });
  await view.atLeast(revision, ended.signal);
}

beforeEach(async () => {
  store = new MemoryStore();
  ended = new AbortController();
  await store.transact({ compare: [], writes: [service(1), assignment('aa', 'n1')] });
  view = new ClusterView({ store, signal: ended.signal });
  await view.synced;
});

afterEach(() => ended.abort());

describe('ClusterView', () => {
  test('shows the snapshot with its indexes once it is synced', () => {
    expect(view.services.get('default/shop/web')?.value.generation).toBe(1);
    expect([...view.assignmentsOn('n1').keys()]).toEqual(['aa']);
    expect([...view.assignmentsOf(serviceId(web)).keys()]).toEqual(['aa']);
    expect([...view.servicesOf('default/shop').keys()]).toEqual(['default/shop/web']);
  });

  test('tells listeners of each change once, with the value before', async () => {
    const seen: Change[] = [];
    view.onChange((changes) => seen.push(...changes));
    await commit(service(2));
    await commit({ kind: 'delete', key: keys.service(web) });
    expect(seen.map(({ collection, id, value, previous }) => [collection, id, value !== undefined, previous !== undefined])).toEqual([
      ['services', 'default/shop/web', true, true],
      ['services', 'default/shop/web', false, true],
    ]);
    expect(view.servicesOf('default/shop').size).toBe(0);
  });

  test('tells of what a compaction hid: changed, new and removed records', async () => {
    const seen: Change[] = [];
    view.onChange((changes) => seen.push(...changes));
    store.setAvailable(false);
    const other = store.connect();
    await other.transact({ compare: [], writes: [service(5), assignment('bb', 'n2')] });
    const { revision } = await other.transact({ compare: [], writes: [{ kind: 'delete', key: keys.assignment('n1', 'aa') }] });
    await other.compact(revision);
    store.setAvailable(true);
    await view.atLeast(revision, ended.signal);
    expect(seen.map(({ collection, id, value }) => `${collection} ${id} ${value ? 'put' : 'gone'}`).sort()).toEqual([
      'assignments aa gone',
      'assignments bb put',
      'services default/shop/web put',
    ]);
    expect(view.assignmentsOn('n1').size).toBe(0);
  });

  test('moves an assignment between the groups when it is bound to another node', async () => {
    await commit({ kind: 'delete', key: keys.assignment('n1', 'aa') }, assignment('aa', 'n2'));
    expect(view.assignmentsOn('n1').size).toBe(0);
    expect([...view.assignmentsOn('n2').keys()]).toEqual(['aa']);
    expect(view.container('aa')?.assignment.node).toBe('n2');
  });

  test('keeps what it had of a record that cannot be read, and says so', async () => {
    const unreadable: string[] = [];
    const second = new ClusterView({ store, signal: ended.signal, onUnreadable: (key) => unreadable.push(key) });
    await second.synced;
    const { revision } = await store.transact({
      compare: [],
      writes: [{ kind: 'put', key: keys.service(web), value: new Uint8Array([255, 1]) }],
    });
    await second.atLeast(revision, ended.signal);
    expect(unreadable).toEqual([keys.service(web)]);
    expect(second.services.get(serviceId(web))?.value.generation).toBe(1);
  });

  test('finds by comparing with the store what its watch has missed', async () => {
    const clock = new ManualClock();
    const missed: string[] = [];
    // loses every change of service web and of container aa
    const lossy: Store = Object.assign(Object.create(store) as Store, {
      list: (prefix: string) => store.list(prefix),
      watch: async function* (options: WatchOptions) {
        for await (const batch of store.watch(options)) {
          const events = batch.snapshot ? batch.events : batch.events.filter(({ key }) => !/web$|aa$/.test(key));
          yield { ...batch, events };
        }
      },
    });
    const view = new ClusterView({ store: lossy, signal: ended.signal, clock, auditMs: 1000, onMissed: (keys) => missed.push(...keys) });
    await view.synced;
    const { revision } = await store.transact({
      compare: [],
      writes: [service(9), { kind: 'delete', key: keys.assignment('n1', 'aa') }, assignment('bb', 'n2')],
    });
    await view.atLeast(revision, ended.signal);
    expect(view.services.get(serviceId(web))?.value.generation).toBe(1);
    await clock.advance(1000);
    expect(missed.sort()).toEqual(['assignments/aa', 'services/default/shop/web']);
    expect(view.services.get(serviceId(web))?.value.generation).toBe(9);
    expect([...view.assignments.keys()]).toEqual(['bb']);
    await clock.advance(1000);
    expect(missed).toHaveLength(2);
  });

  test('leaves keys of no collection aside', async () => {
    await commit({ kind: 'put', key: `${root}secrets/default/shop/a/b`, value: new Uint8Array([1]) });
    expect(view.revision).toBe(await store.revision());
  });

  test('atLeast ends with the signal', async () => {
    const waiting = new AbortController();
    const wait = view.atLeast(view.revision + 1, waiting.signal);
    waiting.abort();
    await expect(wait).rejects.toThrow();
  });

  test('a node is ready only while its gateway lives', async () => {
    const machine = (init: Partial<Machine>): Write => ({
      kind: 'put',
      key: keys.machine('n1'),
      value: Machine.encode(Machine.create({ name: 'n1', ...init })),
    });
    await commit(machine({ gateway: 'g1' }));
    expect(view.nodeState('n1')).toBe(NodeState.unknown);
    await commit({ kind: 'put', key: keys.gateway('g1'), value: Gateway.encode(Gateway.create({ id: 'g1' })) });
    expect(view.nodeState('n1')).toBe(NodeState.ready);
    await commit(machine({ gateway: 'g1', lostAt: 1 }));
    expect(view.nodeState('n1')).toBe(NodeState.lost);
    expect(view.nodeState('nowhere')).toBe(NodeState.unknown);
  });
});

describe('joinContainer', () => {
  const bound = Assignment.create({ id: 'aa', node: 'n1', key: web, slot: 2, reason: 'placed' });
  const running = ContainerStatus.create({ id: 'aa', state: ContainerState.running, ready: true, pid: 7, reason: '' });

  test.each([
    ['no status yet', undefined, {}, false, ContainerState.assigned],
    ['running', running, {}, false, ContainerState.running],
    ['told to stop', running, { desired: AssignmentDesired.stop }, false, ContainerState.stopping],
    ['its node lost', running, {}, true, ContainerState.lost],
    ['to start again when its node was lost', { ...running, state: ContainerState.failed }, {}, true, ContainerState.lost],
    ['ended before its node was lost', { ...running, state: ContainerState.failed, final: true }, {}, true, ContainerState.failed],
  ])('state when %s', (_, status, init, nodeLost, state) => {
    const container = joinContainer({ assignment: { ...bound, ...init }, status }, { nodeLost });
    expect(container.state).toBe(state);
    expect(container.ready).toBe(state === ContainerState.running);
  });

  test('names by slot, and by node for global services', () => {
    expect(containerName(bound)).toBe('shop/web.2');
    expect(containerName({ ...bound, slot: 0 })).toBe('shop/web.n1');
  });
});
