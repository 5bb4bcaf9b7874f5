import { Code } from '@gantry/common';
import {
  ApplyRequest,
  AppSpec,
  AppsService,
  Autoscale,
  ContainerSpec,
  ContainerState,
  DeleteServiceRequest,
  GetServiceRequest,
  HistoryRequest,
  ListServicesRequest,
  Page,
  RestartServiceRequest,
  RolloutRequest,
  ScaleRequest,
  type ServiceEvent,
  ServiceSpec,
  ServiceSpecMode,
  ServicesService,
  UndoRequest,
  WatchServicesRequest,
} from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { keys } from '../store/keys.ts';
import { containerWrites, nodeWrites, startWorld, type World } from './testing/world.ts';

let world: World;
const key = { namespace: 'default', app: 'shop', service: 'web' };

const specOf = (name: string, init: Partial<ServiceSpec> = {}, image = 'web:1') =>
  ServiceSpec.create({ name, replicas: 2, container: ContainerSpec.create({ image }), ...init });
const apply = (...services: ServiceSpec[]) =>
  world.client(AppsService).apply(ApplyRequest.create({ app: AppSpec.create({ name: 'shop', services }) }));
const services = () => world.client(ServicesService);

beforeEach(async () => {
  world = await startWorld();
  await apply(specOf('web'));
});
afterEach(() => world.close());

describe('views', () => {
  test('count containers by state and sum up what they use', async () => {
    await world.commit(
      ...nodeWrites('n1'),
      ...containerWrites('measured', { key, slot: 1 }),
      ...containerWrites('bb', { key, slot: 2, state: ContainerState.starting }),
      ...containerWrites('cc', { key, slot: 3, state: ContainerState.failed }),
    );
    const view = await services().get(GetServiceRequest.create({ key }));
    expect(view).toMatchObject({ desired: 2, running: 1, ready: 1, failed: 1, containers: 3, pending: 0, usage: { cpuMillis: 250 } });
  });

  test('of a service without containers all are pending', async () => {
    expect(await services().get(GetServiceRequest.create({ key }))).toMatchObject({ desired: 2, running: 0, pending: 2, containers: 0 });
  });

  test('a global service wants as many as there are eligible nodes', async () => {
    await world.commit(...nodeWrites('n1'), ...nodeWrites('n2'), ...nodeWrites('n3'));
    await apply(specOf('web', { mode: ServiceSpecMode.global }));
    expect((await services().get(GetServiceRequest.create({ key }))).desired).toBe(3);
  });

  test('are listed in pages by name', async () => {
    await apply(specOf('web'), specOf('a'), specOf('b'));
    const first = await services().list(ListServicesRequest.create({ app: 'shop', page: Page.create({ size: 2 }) }));
    const second = await services().list(
      ListServicesRequest.create({ app: 'shop', page: Page.create({ size: 2, token: first.nextToken }) }),
    );
    expect([...first.services, ...second.services].map((view) => view.service?.key?.service)).toEqual(['a', 'b', 'web']);
    expect(second.nextToken).toBe('');
  });
});

describe('Scale', () => {
  test('changes the number and nothing else, once for its request', async () => {
    const request = ScaleRequest.create({ requestId: 'one', key, replicas: 9 });
    expect(await services().scale(request)).toMatchObject({ desired: 9, service: { generation: 1, updatedBy: 'ann' } });
    await services().scale(ScaleRequest.create({ requestId: 'two', key, replicas: 4 }));
    await services().scale(request);
    expect((await services().get(GetServiceRequest.create({ key }))).desired).toBe(4);
  });

  test.each([
    ['too many', {}, 10_001, Code.invalidArgument],
    ['a global service', { mode: ServiceSpecMode.global }, 3, Code.failedPrecondition],
    ['one that the autoscaler scales', { autoscale: Autoscale.create({ min: 1, max: 3, cpuPercent: 50 }) }, 2, Code.failedPrecondition],
  ])('refuses %s', async (_, init, replicas, code) => {
    await apply(specOf('web', init));
    await expect(services().scale(ScaleRequest.create({ key, replicas }))).rejects.toMatchObject({ code });
  });

  test('a service that does not exist is NOT_FOUND with a hint', async () => {
    const request = ScaleRequest.create({ key: { ...key, service: 'none' }, replicas: 1 });
    await expect(services().scale(request)).rejects.toMatchObject({ code: Code.notFound, details: { hint: expect.any(String) } });
  });
});

describe('Restart, Pause, Resume', () => {
  test('leave a wish for the orchestrator, each once for its request', async () => {
    await services().restart(RestartServiceRequest.create({ requestId: 'a', key }));
    await services().restart(RestartServiceRequest.create({ requestId: 'a', key }));
    await services().restart(RestartServiceRequest.create({ requestId: 'b', key }));
    await services().pauseRollout(RolloutRequest.create({ key }));
    const wish = () => world.view.rolloutRequests.get('default/shop/web')?.value;
    expect(wish()).toMatchObject({ restartGeneration: 2, paused: true, requestedBy: 'ann' });
    await services().resumeRollout(RolloutRequest.create({ key }));
    expect(wish()).toMatchObject({ restartGeneration: 2, paused: false });
  });
});

describe('Undo and History', () => {
  test('undo makes the revision before the current one the newest, and keeps the number of replicas', async () => {
    await apply(specOf('web', {}, 'web:2'));
    await services().scale(ScaleRequest.create({ key, replicas: 6 }));
    const view = await services().undo(UndoRequest.create({ requestId: 'u', key }));
    expect(view.service).toMatchObject({ generation: 3, spec: { replicas: 6, container: { image: 'web:1' } } });
    const { revisions, current } = await services().history(HistoryRequest.create({ key }));
    expect(revisions.map((revision) => revision.number)).toEqual([3, 2, 1]);
    expect(current).toBe(3);
    expect(revisions[0]?.containerHash).toBe(revisions[2]?.containerHash);
    // undone again it goes forward to the other one, not back to an equal one
    expect((await services().undo(UndoRequest.create({ key }))).service?.spec?.container?.image).toBe('web:2');
  });

  test('undo of a first revision, or to one that does not exist, is refused', async () => {
    await expect(services().undo(UndoRequest.create({ key }))).rejects.toMatchObject({ code: Code.notFound });
    await expect(services().undo(UndoRequest.create({ key, toRevision: 8 }))).rejects.toMatchObject({ code: Code.notFound });
  });
});

describe('Delete', () => {
  test('marks the service, takes it out of its app and hides it from further changes', async () => {
    await apply(specOf('web'), specOf('db'));
    const view = await services().delete(DeleteServiceRequest.create({ key }));
    expect(view.service?.deletedAt).toBeGreaterThan(0);
    expect(view.desired).toBe(0);
    expect(world.view.apps.get('default/shop')?.value.services).toEqual(['db']);
    await expect(services().scale(ScaleRequest.create({ key, replicas: 1 }))).rejects.toMatchObject({ code: Code.notFound });
  });
});

describe('Watch', () => {
  const text = ({ service, removed, synced }: ServiceEvent) =>
    synced ? 'synced' : `${removed ? 'gone' : 'is'} ${service?.service?.key?.service} ${service?.desired}`;
  /** Reads messages, acting after each, until enough were seen. */
  async function read(init: Partial<WatchServicesRequest>, count: number, act: (seen: ServiceEvent[]) => void): Promise<ServiceEvent[]> {
    const seen: ServiceEvent[] = [];
    for await (const event of services().watch(WatchServicesRequest.create(init))) {
      seen.push(event);
      if (seen.length === count) break;
      act(seen);
    }
    return seen;
  }

  test('begins with a snapshot and goes on with changes and removals', async () => {
    const seen = await read({}, 4, ({ length }) => {
      if (length === 2) void services().scale(ScaleRequest.create({ key, replicas: 3 }));
      if (length === 3) void world.commit({ kind: 'delete', key: keys.service(key) });
    });
    expect(seen.map(text)).toEqual(['is web 2', 'synced', 'is web 3', 'gone web 0']);
    expect(seen.every((event) => event.revision > 0)).toBe(true);
  });

  test('from a revision tells only what changed after it', async () => {
    const { revision } = await apply(specOf('web'), specOf('db'));
    await services().scale(ScaleRequest.create({ key, replicas: 8 }));
    const seen = await read({ fromRevision: revision }, 2, () => {});
    expect(seen.map(text)).toEqual(['is web 8', 'synced']);
  });

  test('from a revision that is no longer known, or not yet, is OUT_OF_RANGE', async () => {
    const later = await world.another();
    await later.close();
    await expect(read({ fromRevision: 1 }, 1, () => {})).resolves.toBeDefined();
    const other = await world.another();
    const old = other.client(ServicesService).watch(WatchServicesRequest.create({ fromRevision: 1 }));
    await expect(old[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: Code.outOfRange,
      details: { hint: expect.stringContaining('start over') },
    });
    await other.close();
  });

  test('a reader that is slow gets one message with the newest state for many changes', async () => {
    const iterator = services().watch(WatchServicesRequest.create())[Symbol.asyncIterator]();
    await iterator.next();
    await iterator.next();
    // all within one turn of the server: they reach the view as separate batches
    const value = (await world.store.get(keys.service(key)))!.value;
    await Promise.all(
      Array.from({ length: 200 }, () => world.store.transact({ compare: [], writes: [{ kind: 'put', key: keys.service(key), value }] })),
    );
    const { revision } = await world.store.transact({ compare: [], writes: [{ kind: 'put', key: keys.service(key), value }] });
    let messages = 0;
    for (;;) {
      const { value: event } = await iterator.next();
      messages++;
      if (event && event.revision >= revision) break;
    }
    expect(messages).toBeLessThan(100);
    await iterator.return?.();
  });

  test('shows another namespace nothing', async () => {
    const bob = world.client(ServicesService, { name: 'bob', namespace: 'team' });
    const iterator = bob.watch(WatchServicesRequest.create())[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toMatchObject({ synced: true });
    await iterator.return?.();
    await expect(bob.get(GetServiceRequest.create({ key }))).rejects.toMatchObject({ code: Code.permissionDenied });
  });
});
