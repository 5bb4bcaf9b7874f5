import { Code } from '@gantry/common';
import {
  ApplyRequest,
  AppSpec,
  AppsService,
  ContainerSpec,
  DeleteAppRequest,
  FileReference,
  FileSpec,
  GetAppRequest,
  ServiceChangeKind as Kind,
  ListAppsRequest,
  PlanRequest,
  Port,
  Revision,
  Service,
  ServiceSpec,
  ServicesService,
  StoredFile,
  UndoRequest,
  UpdatePolicy,
  VolumeSpec,
} from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { keys, prefixes, root } from '../store/keys.ts';
import { startWorld, type World } from './testing/world.ts';

let world: World;
let requests = 0;

beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.close());

const serviceSpec = (name: string, init: Partial<ServiceSpec> = {}, container: Partial<ContainerSpec> = {}) =>
  ServiceSpec.create({ name, replicas: 2, container: ContainerSpec.create({ image: 'web:1', ...container }), ...init });
const appSpec = (services: ServiceSpec[], init: Partial<AppSpec> = {}) => AppSpec.create({ name: 'shop', services, ...init });
const apply = (app: AppSpec, init: Partial<ApplyRequest> = {}, on: World = world) =>
  on.client(AppsService).apply(ApplyRequest.create({ requestId: `r${++requests}`, app, ...init }));
const key = { namespace: 'default', app: 'shop', service: 'web' };

async function service(): Promise<Service> {
  return Service.decode((await world.store.get(keys.service(key)))!.value);
}
async function revisions(): Promise<Revision[]> {
  return (await world.store.list(prefixes.revisionsOf(key))).items.map((item) => Revision.decode(item.value));
}
const kinds = (changes: { service: string; kind: number }[]) =>
  changes.map((change) => `${change.service} ${Object.keys(Kind)[change.kind]}`);

describe('Apply', () => {
  test('creates services with their first revision, in one transaction', async () => {
    const before = await world.store.revision();
    const { changes, revision } = await apply(appSpec([serviceSpec('web'), serviceSpec('db')]));
    expect(kinds(changes)).toEqual(['web created', 'db created']);
    expect(revision).toBe(before + 1);
    const stored = await service();
    expect(stored).toMatchObject({ generation: 1, updatedBy: 'ann', key });
    expect(stored.spec?.reservation).toMatchObject({ cpuMillis: 100 });
    expect(stored.uid).not.toBe('');
    expect(await revisions()).toMatchObject([{ number: 1, createdBy: 'ann' }]);
    expect(world.events.map((event) => event.type)).toEqual(['ServiceCreated', 'ServiceCreated']);
  });

  test('the same spec again writes nothing', async () => {
    const { revision } = await apply(appSpec([serviceSpec('web')]));
    const again = await apply(appSpec([serviceSpec('web')]));
    expect(kinds(again.changes)).toEqual(['web unchanged']);
    expect(await world.store.revision()).toBe(revision);
  });

  test('a change of the spec makes a generation and a revision, and names the fields', async () => {
    await apply(appSpec([serviceSpec('web')]));
    const { changes } = await apply(appSpec([serviceSpec('web', {}, { image: 'web:2' })]));
    expect(changes).toMatchObject([
      { kind: Kind.updated, generation: 2, fields: [{ path: 'container.image', before: '"web:1"', after: '"web:2"' }] },
    ]);
    expect((await service()).generation).toBe(2);
    const [first, second] = await revisions();
    expect(first?.containerHash).not.toBe(second?.containerHash);
  });

  test('a change of replicas alone is a scaling without a new generation', async () => {
    await apply(appSpec([serviceSpec('web')]));
    const { changes } = await apply(appSpec([serviceSpec('web', { replicas: 5 })]));
    expect(changes).toMatchObject([{ kind: Kind.scaled, generation: 1 }]);
    expect(await service()).toMatchObject({ generation: 1, spec: { replicas: 5 } });
    expect(await revisions()).toHaveLength(1);
  });

  test('a change of the update policy makes a revision that needs no new container', async () => {
    await apply(appSpec([serviceSpec('web')]));
    await apply(appSpec([serviceSpec('web', { update: UpdatePolicy.create({ parallelism: 3 }) })]));
    const [first, second] = await revisions();
    expect(second?.number).toBe(2);
    expect(second?.containerHash).toBe(first?.containerHash);
  });

  test('a service that is no longer in the app is marked as to be removed; made again it is another one', async () => {
    await apply(appSpec([serviceSpec('web'), serviceSpec('db')]));
    const first = await service();
    const { changes } = await apply(appSpec([serviceSpec('db')]));
    expect(kinds(changes)).toEqual(['db unchanged', 'web removed']);
    expect((await service()).deletedAt).toBeGreaterThan(0);
    const again = await apply(appSpec([serviceSpec('web'), serviceSpec('db')]));
    expect(kinds(again.changes)).toEqual(['web created', 'db unchanged']);
    const second = await service();
    expect(second).toMatchObject({ deletedAt: 0, generation: 2 });
    expect(second.uid).not.toBe(first.uid);
  });

  test('the same call again has its effect once, also on another control plane and while it runs', async () => {
    const app = appSpec([serviceSpec('web')]);
    const [one, two] = await Promise.all([apply(app, { requestId: 'same' }), apply(app, { requestId: 'same' })]);
    expect(two).toEqual(one);
    const other = await world.another();
    const three = await apply(app, { requestId: 'same' }, other);
    expect(kinds(three.changes)).toEqual(['web created']);
    await other.close();
    expect((await service()).generation).toBe(1);
  });

  test('a plan that others have overtaken is refused', async () => {
    const { revision } = await world.client(AppsService).plan(PlanRequest.create({ app: appSpec([serviceSpec('web')]) }));
    await apply(appSpec([serviceSpec('web', { replicas: 7 })]));
    await expect(apply(appSpec([serviceSpec('web')]), { ifRevision: revision })).rejects.toMatchObject({ code: Code.failedPrecondition });
    expect((await service()).spec?.replicas).toBe(7);
  });

  test('two that apply at once both succeed, one after the other', async () => {
    const results = await Promise.all(['web:1', 'web:2', 'web:3'].map((image) => apply(appSpec([serviceSpec('web', {}, { image })]))));
    expect(new Set(results.map((result) => result.revision)).size).toBe(3);
    expect((await service()).generation).toBe(3);
  });

  test('a lost answer of the store is read back: it was applied, and says so', async () => {
    world.store.inject({ call: 'transact', applied: true });
    const { changes } = await apply(appSpec([serviceSpec('web')]));
    expect(kinds(changes)).toEqual(['web created']);
  });

  test('a store that does not answer gives UNAVAILABLE, changes nothing, and the same call later succeeds', async () => {
    world.store.inject({ call: 'transact' });
    const call = { requestId: 'retry' };
    await expect(apply(appSpec([serviceSpec('web')]), call)).rejects.toMatchObject({ code: Code.unavailable, retryable: true });
    expect((await world.store.list(root)).items).toEqual([]);
    expect(kinds((await apply(appSpec([serviceSpec('web')]), call)).changes)).toEqual(['web created']);
  });

  test('an app that is too large for one transaction is written in chunks, its record last', async () => {
    const services = Array.from({ length: 150 }, (_, index) => serviceSpec(`s${String(index).padStart(3, '0')}`));
    const { changes } = await apply(appSpec(services));
    expect(changes).toHaveLength(150);
    const app = await world.store.get(keys.app('default', 'shop'));
    const newest = Math.max(...(await world.store.list(prefixes.services)).items.map((item) => item.modRevision));
    expect(app!.modRevision).toBeGreaterThanOrEqual(newest);
    expect((await world.store.list(prefixes.revisions)).items).toHaveLength(150);
  });

  test('bad specs are refused with the field and change nothing', async () => {
    for (const app of [null, appSpec([serviceSpec('Web')]), appSpec([serviceSpec('web', {}, { environment: { a: 'b\0' } })])]) {
      await expect(apply(app as AppSpec)).rejects.toMatchObject({ code: Code.invalidArgument, details: { subject: expect.any(String) } });
    }
    expect((await world.store.list(root)).items).toEqual([]);
  });

  test('a user of one namespace may not apply to another; an empty one is his own', async () => {
    const bob = world.client(AppsService, { name: 'bob', namespace: 'team' });
    const app = appSpec([serviceSpec('web')]);
    await expect(bob.apply(ApplyRequest.create({ app: { ...app, namespace: 'default' } }))).rejects.toMatchObject({
      code: Code.permissionDenied,
    });
    await bob.apply(ApplyRequest.create({ app }));
    expect((await bob.list(ListAppsRequest.create())).apps).toMatchObject([{ namespace: 'team', name: 'shop' }]);
    const carl = world.client(AppsService, { name: 'carl', namespace: 'other' });
    expect((await carl.list(ListAppsRequest.create())).apps).toEqual([]);
  });
});

describe('published ports', () => {
  const publishing = (port: number) => ({ ports: [Port.create({ target: 80, published: port })] });

  test('are unique in the cluster; the refusal names the holder', async () => {
    await apply(appSpec([serviceSpec('web', publishing(8080))]));
    const other = appSpec([serviceSpec('front', publishing(8080))], { name: 'blog' });
    await expect(apply(other)).rejects.toMatchObject({
      code: Code.failedPrecondition,
      message: expect.stringContaining('"default/shop/web"'),
    });
    await apply(appSpec([serviceSpec('front', publishing(8081))], { name: 'blog' }));
  });

  test('of two apps that want one at the same time on two control planes exactly one gets it', async () => {
    const other = await world.another();
    const results = await Promise.allSettled([
      apply(appSpec([serviceSpec('web', publishing(8080))])),
      apply(appSpec([serviceSpec('web', publishing(8080))], { name: 'blog' }), {}, other),
    ]);
    await other.close();
    expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  test('move between services of an app, and are free once their service goes', async () => {
    await apply(appSpec([serviceSpec('web', publishing(8080))]));
    await apply(appSpec([serviceSpec('web'), serviceSpec('front', publishing(8080))]));
    await world.client(AppsService).delete(DeleteAppRequest.create({ app: 'shop' }));
    await apply(appSpec([serviceSpec('web', publishing(8080))], { name: 'blog' }));
  });

  test('are claimed by an undo that brings them back', async () => {
    await apply(appSpec([serviceSpec('web', publishing(8080))]));
    await apply(appSpec([serviceSpec('web')]));
    await apply(appSpec([serviceSpec('web', publishing(8080))], { name: 'blog' }));
    await expect(world.client(ServicesService).undo(UndoRequest.create({ key }))).rejects.toMatchObject({ code: Code.failedPrecondition });
  });
});

describe('configs and secrets', () => {
  const withFiles = (config: string, secret: string) =>
    appSpec(
      [
        serviceSpec(
          'web',
          {},
          { configs: [FileReference.create({ source: 'conf', target: '/c' })], secrets: [FileReference.create({ source: 'pass' })] },
        ),
      ],
      {
        configs: [FileSpec.create({ name: 'conf', content: Buffer.from(config) })],
        secrets: [FileSpec.create({ name: 'pass', content: Buffer.from(secret) })],
      },
    );

  test('a change of content alone makes a revision with another hash and names the file', async () => {
    await apply(withFiles('a=1', 'canary'));
    const { changes } = await apply(withFiles('a=2', 'canary'));
    expect(changes).toMatchObject([{ kind: Kind.updated, fields: [{ path: 'container.configs[conf].content' }] }]);
    const [first, second] = await revisions();
    expect(first?.containerHash).not.toBe(second?.containerHash);
    expect(second?.fileDigests['config/conf']).not.toBe(first?.fileDigests['config/conf']);
    expect(second?.fileDigests['secret/pass']).toBe(first?.fileDigests['secret/pass']);
  });

  test('the plain text of a secret is in no key and in no answer', async () => {
    await apply(withFiles('a=1', 'canary'));
    const { items } = await world.store.list('/');
    expect(items.some((item) => Buffer.from(item.value).includes('canary'))).toBe(false);
    const stored = items.filter((item) => item.key.startsWith(prefixes.secretsOf('default', 'shop')));
    expect(stored.map((item) => StoredFile.decode(item.value).keyId)).toEqual(['k1']);
    const { app } = await world.client(AppsService).get(GetAppRequest.create({ app: 'shop' }));
    expect(app?.secrets).toMatchObject([{ name: 'pass', digest: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
    expect(app?.secrets[0]?.content).toHaveLength(0);
  });

  test('go with the app, and earlier ones stay while a kept revision has them', async () => {
    await apply(withFiles('a=1', 'x'));
    await apply(withFiles('a=2', 'x'));
    expect((await world.store.list(prefixes.configsOf('default', 'shop'))).items).toHaveLength(2);
    await world.client(AppsService).delete(DeleteAppRequest.create({ app: 'shop' }));
    expect((await world.store.list(`${root}configs/`)).items).toEqual([]);
    expect((await world.store.list(`${root}secrets/`)).items).toEqual([]);
  });
});

describe('Plan', () => {
  test('tells changes and asks for the places of new slots without writing', async () => {
    await apply(appSpec([serviceSpec('web')]));
    const before = await world.store.revision();
    const app = appSpec([serviceSpec('web', { replicas: 4 }), serviceSpec('db', { replicas: 1 })]);
    const { changes, revision } = await world.client(AppsService).plan(PlanRequest.create({ app }));
    expect(kinds(changes)).toEqual(['web scaled', 'db created']);
    expect(revision).toBe(before);
    expect(await world.store.revision()).toBe(before);
    expect(world.planned[0]?.map((planned) => [planned.key.service, planned.slots])).toEqual([
      ['web', [1, 2, 3, 4]],
      ['db', [1]],
    ]);
  });
});

describe('Delete', () => {
  test('marks every service, removes the app, and keeps volumes unless told to', async () => {
    const app = appSpec([serviceSpec('web')], { volumes: [VolumeSpec.create({ name: 'data' })] });
    await apply(app);
    const client = world.client(AppsService);
    const { changes } = await client.delete(DeleteAppRequest.create({ app: 'shop' }));
    expect(kinds(changes)).toEqual(['web removed']);
    await expect(client.get(GetAppRequest.create({ app: 'shop' }))).rejects.toMatchObject({ code: Code.notFound });
    expect(world.view.volumes.size).toBe(1);
    await expect(client.delete(DeleteAppRequest.create({ app: 'shop' }))).rejects.toMatchObject({ code: Code.notFound });
    await apply(app);
    await client.delete(DeleteAppRequest.create({ app: 'shop', removeVolumes: true }));
    expect(world.view.volumes.size).toBe(0);
  });
});

test('old revisions are removed, those that containers have are kept', async () => {
  for (let index = 0; index < 25; index++) await apply(appSpec([serviceSpec('web', {}, { image: `web:${index}` })]));
  const numbers = (await revisions()).map((revision) => revision.number);
  expect(numbers.at(-1)).toBe(25);
  expect(numbers.length).toBeLessThanOrEqual(21);
});

test('that nothing is to be done is checked against the store, not only the view', async () => {
  await apply(appSpec([serviceSpec('web')]));
  const other = await world.another();
  // the other control plane's view stands still while the service is scaled
  other.store.setAvailable(false);
  await apply(appSpec([serviceSpec('web', { replicas: 9 })]));
  const again = apply(appSpec([serviceSpec('web')]), {}, other);
  await expect(again).rejects.toMatchObject({ code: Code.unavailable });
  other.store.setAvailable(true);
  expect(kinds((await apply(appSpec([serviceSpec('web')]), {}, other)).changes)).toEqual(['web scaled']);
  await other.close();
});
