import { ManualClock, silentLogger } from '@gantry/common';
import { Assignment, Autoscale, ContainerState, ContainerStatus, Scale, Service, ServiceSpec, Usage } from '@gantry/proto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClusterView } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { startAutoscaler } from './loop.ts';

const web = { namespace: 'default', app: 'shop', service: 'web' };
const reservation = { cpuMillis: 100, memoryBytes: 1000, ioBytesPerSecond: 0, networkBytesPerSecond: 0 };

let clock: ManualClock;
let store: MemoryStore;
let view: ClusterView;
let ended: AbortController;
const usage = new Map<string, Usage>();
const events: string[] = [];

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryStore({ clock });
  ended = new AbortController();
  usage.clear();
  events.length = 0;
  const spec = ServiceSpec.create({
    name: 'web',
    replicas: 2,
    reservation,
    autoscale: Autoscale.create({ min: 1, max: 6, cpuPercent: 50 }),
  });
  await store.transact({
    compare: [],
    writes: [
      { kind: 'put', key: keys.leader(), value: new Uint8Array(0) },
      { kind: 'put', key: keys.service(web), value: Service.encode(Service.create({ key: web, spec, uid: 'u' })) },
      ...['a', 'b'].flatMap((id) => [
        { kind: 'put' as const, key: keys.assignment('n1', id), value: Assignment.encode(Assignment.create({ id, key: web, node: 'n1' })) },
        {
          kind: 'put' as const,
          key: keys.status('n1', id),
          value: ContainerStatus.encode(ContainerStatus.create({ id, node: 'n1', state: ContainerState.running })),
        },
      ]),
    ],
  });
  view = new ClusterView({ store, signal: ended.signal });
  await view.synced;
  const leader = await store.get(keys.leader());
  startAutoscaler({
    view,
    store,
    fence: { kind: 'createRevision', key: keys.leader(), equals: leader!.createRevision },
    usage: { latest: (id) => usage.get(id) },
    clock,
    log: silentLogger(),
    emit: ({ type, message }) => events.push(`${type} ${message}`),
    signal: ended.signal,
  });
});

afterEach(() => ended.abort());

/** Seconds under a load, with a report each 5 s. */
async function load(cpuMillis: number, seconds: number): Promise<void> {
  for (let left = seconds; left > 0; left -= 5) {
    for (const id of ['a', 'b']) usage.set(id, Usage.create({ at: clock.nowUs(), cpuMillis }));
    await clock.advance(5000);
  }
}

const scale = async () => Scale.decode((await store.get(keys.scale(web)))!.value);

test('follows load up at once and down after the window, with an event that names the inputs', async () => {
  await load(50, 10);
  expect((await scale()).replicas).toBe(2);
  await load(100, 5);
  expect((await scale()).replicas).toBe(4);
  expect(events).toEqual(['ScaledUp 2 -> 4 replicas: cpu 100% of the reservation, 50% aimed at (asks for 4)']);
});

test('old measurements count as none', async () => {
  await load(50, 10);
  await clock.advance(120_000);
  expect((await scale()).replicas).toBe(2);
  expect(events).toEqual([]);
});

test('writes nothing once another leads', async () => {
  await load(50, 10);
  await store.transact({ compare: [], writes: [{ kind: 'delete', key: keys.leader() }] });
  await load(100, 20);
  expect((await scale()).replicas).toBe(2);
});
