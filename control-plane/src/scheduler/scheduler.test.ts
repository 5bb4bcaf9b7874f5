import { ManualClock } from '@gantry/common';
import {
  Affinity,
  Assignment,
  AssignmentDesired,
  ContainerSpec,
  ContainerState,
  ContainerStatus,
  Gateway,
  Machine,
  MountType,
  NodeSettings,
  NodeSettingsAvailability,
  Placement,
  Service,
  type ServiceSpec,
  ServiceSpecMode,
  TaintEffect,
  Volume,
} from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ClusterView } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { Write } from '../store/store.ts';
import { ClusterScheduler } from './scheduler.ts';
import { ids, spec } from './testing/fixtures.ts';

const web = { namespace: 'default', app: 'shop', service: 'web' };
let store: MemoryStore;
let view: ClusterView;
let scheduler: ClusterScheduler;
let ended: AbortController;

const put = (key: string, value: Uint8Array): Write => ({ kind: 'put', key, value });

async function write(...writes: Write[]): Promise<void> {
  const { revision } = await store.transact({ compare: [], writes });
  await view.atLeast(revision, ended.signal);
}

function node(name: string, settings: Partial<NodeSettings> = {}, machine: Partial<Machine> = {}): Write[] {
  const capacity = { cpuMillis: 1000, memoryBytes: 2 ** 30, ioBytesPerSecond: 0, networkBytesPerSecond: 0 };
  return [
    put(keys.node(name), NodeSettings.encode(NodeSettings.create({ name, ...settings }))),
    put(keys.machine(name), Machine.encode(Machine.create({ name, gateway: 'g1', os: 'linux', arch: 'amd64', capacity, ...machine }))),
  ];
}

function container(id: string, nodeName: string, init: Partial<Assignment> = {}): Write {
  const value = Assignment.create({ id, key: web, node: nodeName, spec: spec(), reservation: spec().reservation, ...init });
  return put(keys.assignment(nodeName, id), Assignment.encode(value));
}

function status(id: string, nodeName: string, init: Partial<ContainerStatus>): Write {
  return put(keys.status(nodeName, id), ContainerStatus.encode(ContainerStatus.create({ id, node: nodeName, ...init })));
}

/** How many more containers of half a core fit. */
function room(service: ServiceSpec = spec()): number {
  const { placed } = scheduler.place({ service: 'trial', spec: service, replicas: 9, ids: ids(9, 'trial') });
  for (const { id } of placed) scheduler.release('trial', id);
  return placed.length;
}

beforeEach(async () => {
  store = new MemoryStore();
  ended = new AbortController();
  view = new ClusterView({ store, signal: ended.signal });
  scheduler = new ClusterScheduler({ view, clock: new ManualClock(), signal: ended.signal });
  await write(put(keys.gateway('g1'), Gateway.encode(Gateway.create({ id: 'g1' }))), ...node('n1'), ...node('n2'));
});

afterEach(() => ended.abort());

describe('the table follows the view', () => {
  test('nodes that join, close, are lost, lose their gateway, or are removed', async () => {
    expect(room()).toBe(4);
    await write(...node('n3'));
    expect(room()).toBe(6);
    await write(...node('n3', { availability: NodeSettingsAvailability.cordoned }));
    expect(room()).toBe(4);
    await write(...node('n2', {}, { lostAt: 5 }));
    expect(room()).toBe(2);
    await write(...node('n2', { removed: true }), ...node('n3'));
    expect(room()).toBe(4);
    await write({ kind: 'delete', key: keys.gateway('g1') });
    expect(room()).toBe(0);
    await write(put(keys.gateway('g1'), Gateway.encode(Gateway.create({ id: 'g1' }))));
    expect(room()).toBe(4);
  });

  test('containers count until they have ended for good; one that its agent restarts goes on counting', async () => {
    await write(container('a', 'n1'), container('b', 'n1'), container('c', 'n2'));
    expect(room()).toBe(1);
    await write(status('a', 'n1', { state: ContainerState.failed }));
    expect(room()).toBe(1);
    await write(status('a', 'n1', { state: ContainerState.failed, final: true }), status('b', 'n1', { state: ContainerState.complete }));
    expect(room()).toBe(3);
    await write(container('c', 'n2', { desired: AssignmentDesired.stop }));
    expect(room()).toBe(3);
    await write({ kind: 'delete', key: keys.assignment('n2', 'c') });
    expect(room()).toBe(4);
  });

  test('what was placed counts at once, and is taken back when nothing was committed', async () => {
    const { placed } = scheduler.place({ service: 'default/shop/web', spec: spec(), replicas: 3, ids: ['a', 'b', 'c'] });
    expect(room()).toBe(1);
    await write(container('a', placed[0]!.node));
    expect(room()).toBe(1);
    scheduler.release('default/shop/web', 'b');
    expect(room()).toBe(2);
    scheduler.reset();
    expect(room()).toBe(3);
  });

  test('a taint that drives out and a constraint that no longer holds are told', async () => {
    const picky = spec({ placement: Placement.create({ constraints: ['node.labels.disk == ssd'] }) });
    await write(...node('n1', { labels: { disk: 'ssd' } }));
    expect(scheduler.eligibleNodes(picky)).toEqual(['n1']);
    expect([scheduler.mayStay(picky, 'n1'), scheduler.mayStay(picky, 'n2'), scheduler.mayStay(picky, 'unknown')]).toEqual([
      true,
      false,
      true,
    ]);
    await write(...node('n1', { labels: { disk: 'ssd' }, taints: [{ key: 'broken', value: '', effect: TaintEffect.no_execute }] }));
    expect(scheduler.mayStay(picky, 'n1')).toBe(false);
    expect(scheduler.eligibleNodes(picky)).toEqual([]);
  });
});

describe('dry run', () => {
  const service = (init: Partial<ServiceSpec> = {}, slots: number[] = [], frees: string[] = []) => ({
    key: web,
    spec: spec(init),
    slots,
    frees,
  });

  test('places all services together, tells refusals and capacity after, and changes nothing', async () => {
    await write(container('a', 'n1'));
    const { placements, capacity, warnings } = scheduler.plan([
      { ...service({ priority: 1 }, [1, 2]), key: { ...web, service: 'first' } },
      service({}, [1, 2]),
    ]);
    expect(placements.map(({ service: name, slot, node: where }) => [name, slot, where !== ''])).toEqual([
      ['first', 1, true],
      ['first', 2, true],
      ['web', 1, true],
      ['web', 2, false],
    ]);
    expect(placements[0]!.scores.length).toBeGreaterThan(0);
    expect(placements[3]!.refusal?.message).toBe('no node has cpu 500m free: 2 nodes, most free n1 with 0');
    expect(capacity.map(({ reservedBefore, reservedAfter }) => [reservedBefore!.cpuMillis, reservedAfter!.cpuMillis])).toEqual([
      [500, 1000],
      [0, 1000],
    ]);
    expect(warnings).toEqual([]);
    expect(room()).toBe(3);
  });

  test('what goes makes room for what comes', async () => {
    await write(container('a', 'n1'), container('b', 'n1'), container('c', 'n2'), container('d', 'n2'));
    expect(
      scheduler
        .plan([service({}, [1, 2], ['a', 'c'])])
        .placements.map(({ node: where }) => where)
        .sort(),
    ).toEqual(['n1', 'n2']);
  });

  test('who wants to be alone keeps the other away, whichever is planned or placed first', async () => {
    const apart = Affinity.create({ service: 'web', apart: true, required: true });
    const alone = { placement: Placement.create({ affinities: [apart] }), priority: -1 };
    const planned = scheduler.plan([service({}, [1]), { ...service(alone, [1]), key: { ...web, service: 'db' } }]).placements;
    expect(planned.map(({ node: where }) => where !== '')).toEqual([true, true]);
    expect(planned[0]!.node).not.toBe(planned[1]!.node);
    const db = { ...web, service: 'db' };
    await write(put(keys.service(db), Service.encode(Service.create({ key: db, spec: spec(alone) }))), container('d', 'n1', { key: db }));
    expect(scheduler.plan([service({}, [1, 2])]).placements.map(({ node: where }) => where)).toEqual(['n2', 'n2']);
    await write({ kind: 'delete', key: keys.service(db) });
    expect(new Set(scheduler.plan([service({}, [1, 2])]).placements.map(({ node: where }) => where)).size).toBe(2);
  });

  test('says who would have to make room for a higher priority', async () => {
    await write(...['a', 'b', 'c', 'd'].map((id, index) => container(id, index < 2 ? 'n1' : 'n2', { key: { ...web, service: 'batch' } })));
    const { warnings, placements } = scheduler.plan([service({ priority: 100 }, [1])]);
    expect(warnings).toEqual([expect.stringMatching(/^shop\/batch on n[12] would be stopped to make room for shop\/web$/)]);
    expect(placements[0]!.refusal).toBeTruthy();
    expect(scheduler.plan([service({ priority: 99 }, [1])]).warnings).toEqual([]);
  });

  test('a required affinity that nothing holds is refused by name, and preferring it would help', () => {
    const near = Affinity.create({ service: 'cache', within: 'node.zone', required: true });
    const [first] = scheduler.plan([service({ placement: Placement.create({ affinities: [near] }) }, [1])]).placements;
    expect(first!.refusal!.message).toContain('no node passes "near shop/cache, in the same node.zone"');
    expect(first!.refusal!.suggestions).toContain('prefer "near shop/cache, in the same node.zone" instead of requiring it');
  });

  test('global services get the nodes that have none yet', async () => {
    await write(container('a', 'n1'));
    const { placements } = scheduler.plan([service({ mode: ServiceSpecMode.global })]);
    expect(placements.map(({ node: where, slot }) => [where, slot])).toEqual([['n2', 0]]);
  });

  test('containers that share a volume go where it is, or together', async () => {
    const mounts = [{ type: MountType.volume, source: 'data', target: '/data', readOnly: false, tmpfsBytes: 0, tmpfsMode: 0 }];
    const wanted = service({ container: ContainerSpec.create({ mounts }) }, [1, 2, 3]);
    const free = scheduler.plan([wanted]).placements;
    expect(new Set(free.slice(0, 2).map(({ node: where }) => where)).size).toBe(1);
    expect(free[2]!.refusal?.message).toContain('the data of its volume is on');
    const volume = Volume.create({ namespace: 'default', app: 'shop', node: 'n2' });
    await write(put(keys.volume('default', 'shop', 'data'), Volume.encode(volume)));
    expect(
      scheduler
        .plan([wanted])
        .placements.slice(0, 2)
        .map(({ node: where }) => where),
    ).toEqual(['n2', 'n2']);
  });
});
