import { App, AppSpec, ContainerSpec, Port, Service, ServiceKey, ServiceSpec } from '@gantry/proto';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ClusterView } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { checkTransaction, type Write } from '../store/store.ts';
import { type AppPlan, appState, type Change, planApp } from './app-plan.ts';
import { transactions } from './apply.ts';
import { claimPorts } from './published-ports.ts';

let store: MemoryStore;
let view: ClusterView;
const ended = new AbortController();
const change: Change = { by: 'ann', nowUs: 7, requestId: 'r', newId: () => 'uid' };
const spec = (name: string, init: Partial<ServiceSpec> = {}) =>
  ServiceSpec.create({ name, replicas: 1, container: ContainerSpec.create({ image: 'web:1' }), ...init });
const app = (...services: ServiceSpec[]) => AppSpec.create({ namespace: 'default', name: 'shop', services });
const key = { namespace: 'default', app: 'shop', service: 'web' };

async function commit(...writes: Write[]): Promise<void> {
  const { revision } = await store.transact({ compare: [], writes });
  await view.atLeast(revision, ended.signal);
}

beforeEach(async () => {
  store = new MemoryStore();
  view = new ClusterView({ store, signal: ended.signal });
  await view.synced;
});
afterEach(() => store.close());

describe('a plan', () => {
  const plan = (...services: ServiceSpec[]) => planApp(app(...services), appState(view, 'default', 'shop'), view, change);
  const take = ({ compare, inert, services, app: record }: AppPlan) => store.transact({ compare, writes: [...inert, ...services, record] });

  test('is refused when a service it changes was changed meanwhile, though the app was not', async () => {
    await take(plan(spec('web')));
    await view.atLeast(await store.revision(), ended.signal);
    const late = plan(spec('web', { priority: 5 }));
    await commit({
      kind: 'put',
      key: keys.service(key),
      value: Service.encode(Service.create({ key, spec: spec('web', { replicas: 9 }), generation: 1 })),
    });
    expect((await take(late)).succeeded).toBe(false);
  });

  test('is refused when the app was applied meanwhile, though none of its services changed', async () => {
    const late = plan(spec('web'));
    await commit({ kind: 'put', key: keys.app('default', 'shop'), value: App.encode(App.create({ name: 'shop' })) });
    expect((await take(late)).succeeded).toBe(false);
  });
});

describe('a claim of a port', () => {
  const step = (published: number) => ({
    before: undefined,
    after: Service.create({ key, spec: spec('web', { ports: [Port.create({ target: 80, published })] }) }),
  });
  const other = { ...key, app: 'blog' };
  const holder = keys.port('tcp', 8080);

  test('fails when another took the port after it was looked at', async () => {
    const { compare, writes } = await claimPorts({ store, view }, [step(8080)]);
    await store.transact({ compare: [], writes: [{ kind: 'put', key: holder, value: ServiceKey.encode(other) }] });
    expect((await store.transact({ compare, writes })).succeeded).toBe(false);
  });

  test('replaces one of a service that no longer publishes it', async () => {
    await commit({ kind: 'put', key: holder, value: ServiceKey.encode(other) });
    const { compare, writes } = await claimPorts({ store, view }, [step(8080)]);
    expect((await store.transact({ compare, writes })).succeeded).toBe(true);
    expect(ServiceKey.decode((await store.get(holder))!.value)).toEqual(key);
  });
});

test('a plan of any size is cut into transactions that fit, guarded by the app, inert records first and the app last', () => {
  const write = (prefix: string) =>
    fc
      .record({ size: fc.nat(60_000) })
      .map(({ size }, index?: number) => ({ kind: 'put' as const, key: `${prefix}${index}`, value: new Uint8Array(size) }));
  const list = (prefix: string) =>
    fc
      .array(write(prefix), { maxLength: 300 })
      .map((writes) => writes.map((one, index) => ({ ...one, key: `${prefix}${String(index).padStart(4, '0')}` })));
  fc.assert(
    fc.property(list('/inert/'), list('/services/'), (inert, services) => {
      const compare = ['/app', ...services.map(({ key }) => key)].map((one) => ({ kind: 'modRevision' as const, key: one, equals: 1 }));
      const record = { kind: 'put' as const, key: '/app', value: new Uint8Array() };
      const all = transactions({ steps: [], inert, services, app: record, compare, unchanged: false });
      for (const transaction of all) {
        checkTransaction(transaction);
        expect(transaction.compare[0]?.key).toBe('/app');
        for (const { key } of transaction.writes.filter(({ key }) => key.startsWith('/services/'))) {
          expect(transaction.compare.some((comparison) => comparison.key === key)).toBe(true);
        }
      }
      expect(all.flatMap(({ writes }) => writes.map(({ key }) => key))).toEqual([...inert, ...services, record].map(({ key }) => key));
    }),
    { numRuns: 50 },
  );
});
