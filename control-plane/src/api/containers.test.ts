import { Code } from '@gantry/common';
import {
  ApplyRequest,
  AppSpec,
  AppsService,
  AssignmentDesired,
  type ContainerEvent,
  ContainerSpec,
  ContainerState,
  ContainersService,
  GetContainerRequest,
  ListContainersRequest,
  Machine,
  NodeScore,
  Page,
  Port,
  Refusal,
  RefusalRecord,
  ScaleRequest,
  ServiceSpec,
  ServicesService,
  StopContainerRequest,
  WatchContainersRequest,
  WhyRequest,
} from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { keys } from '../store/keys.ts';
import { containerWrites, nodeWrites, startWorld, type World } from './testing/world.ts';

let world: World;
const key = { namespace: 'default', app: 'shop', service: 'web' };
const spec = ServiceSpec.create({
  name: 'web',
  replicas: 3,
  container: ContainerSpec.create({ image: 'web:1' }),
  ports: [Port.create({ target: 80, published: 8080 })],
});
const containers = () => world.client(ContainersService);

beforeEach(async () => {
  world = await startWorld();
  await world.client(AppsService).apply(ApplyRequest.create({ app: AppSpec.create({ name: 'shop', services: [spec] }) }));
  await world.commit(
    ...nodeWrites('n1'),
    ...containerWrites('aabb01', { key, slot: 1, assignment: { spec } }),
    ...containerWrites('aabb02', { key, slot: 2, state: ContainerState.failed, assignment: { spec } }),
  );
});
afterEach(() => world.close());

const names = (list: { name: string; state: number }[]) => list.map(({ name, state }) => `${name} ${Object.keys(ContainerState)[state]}`);

describe('List', () => {
  test('shows what lives and what waits; what ended only when asked for', async () => {
    const { containers: live } = await containers().list(ListContainersRequest.create());
    expect(names(live)).toEqual(['shop/web.1 running', 'shop/web.3 pending']);
    const { containers: all } = await containers().list(ListContainersRequest.create({ all: true, app: 'shop', service: 'web' }));
    expect(names(all)).toEqual(['shop/web.1 running', 'shop/web.2 failed', 'shop/web.3 pending']);
  });

  test('by node leaves out what has none; by pages it is the same list', async () => {
    const { containers: onNode } = await containers().list(ListContainersRequest.create({ node: 'n1', all: true }));
    expect(names(onNode)).toEqual(['shop/web.1 running', 'shop/web.2 failed']);
    const seen: string[] = [];
    let token = '';
    do {
      const answer = await containers().list(ListContainersRequest.create({ all: true, page: Page.create({ size: 1, token }) }));
      seen.push(...answer.containers.map(({ name }) => name));
      token = answer.nextToken;
    } while (token !== '');
    expect(seen).toEqual(['shop/web.1', 'shop/web.2', 'shop/web.3']);
  });

  test('refuses pages of more than 500', async () => {
    const request = ListContainersRequest.create({ page: Page.create({ size: 501 }) });
    await expect(containers().list(request)).rejects.toMatchObject({ code: Code.invalidArgument });
  });
});

describe('Get', () => {
  test('tells what a container is expected to use while it has not ended', async () => {
    await world.commit(...containerWrites('measured', { key, slot: 3, assignment: { spec } }));
    const measured = await containers().get(GetContainerRequest.create({ container: 'measured' }));
    expect(measured).toMatchObject({ usage: { cpuMillis: 250 }, estimate: { cpuMillis: 300 } });
    const ended = { key, slot: 3, state: ContainerState.complete, assignment: { spec } };
    await world.commit(...containerWrites('measured', ended));
    expect(await containers().get(GetContainerRequest.create({ container: 'measured' }))).toMatchObject({ estimate: null });
  });

  test.each(['aabb01', 'aabb01'.slice(0, 6), 'shop/web.1', 'web.1'])('finds by %s', async (text) => {
    expect((await containers().get(GetContainerRequest.create({ container: text }))).id).toBe('aabb01');
  });

  test('a prefix of several names them; of none is NOT_FOUND', async () => {
    await expect(containers().get(GetContainerRequest.create({ container: 'aabb' }))).rejects.toMatchObject({
      code: Code.failedPrecondition,
      message: expect.stringMatching(/aabb01.*aabb02/),
    });
    await expect(containers().get(GetContainerRequest.create({ container: 'ff00' }))).rejects.toMatchObject({ code: Code.notFound });
  });

  test('in another namespace is not found, even by its id', async () => {
    const bob = world.client(ContainersService, { name: 'bob', namespace: 'team' });
    await expect(bob.get(GetContainerRequest.create({ container: 'aabb01' }))).rejects.toMatchObject({ code: Code.notFound });
  });
});

describe('Stop', () => {
  test('marks the assignment with the reason and the time to drain', async () => {
    const stopped = await containers().stop(StopContainerRequest.create({ requestId: 's', container: 'web.1' }));
    expect(stopped.state).toBe(ContainerState.stopping);
    expect(world.view.assignments.get('aabb01')?.value).toMatchObject({
      desired: AssignmentDesired.stop,
      reason: 'stopped by ann',
      drainUs: 1e6,
    });
  });
});

describe('Why', () => {
  test('of a service without places tells its refusal', async () => {
    const refusal = Refusal.create({ message: 'no node has cpu 64', suggestions: ['lower cpu'] });
    const record = RefusalRecord.create({ key, refusal, slots: [3] });
    await world.commit({ kind: 'put', key: keys.refusal(key), value: RefusalRecord.encode(record) });
    for (const target of ['shop/web', 'web', 'shop', 'shop/web.3']) {
      const answer = await containers().why(WhyRequest.create({ target }));
      expect(answer.summary).toContain('no node has cpu 64');
      expect(answer.refusal?.suggestions).toEqual(['lower cpu']);
    }
  });

  test('of a placed container tells its node, how it was scored, and its events', async () => {
    const scores = [NodeScore.create({ node: 'n1', score: 0.9 }), NodeScore.create({ node: 'n2', score: 0.5 })];
    await world.commit(...containerWrites('aabb01', { key, slot: 1, assignment: { spec, scores } }));
    const answer = await containers().why(WhyRequest.create({ target: 'web.1' }));
    expect(answer.summary).toBe('shop/web.1 is running on n1, score 0.900 before n2 with 0.500');
    expect(answer.scores).toHaveLength(2);
    expect(answer.events.map((event) => event.type)).toEqual(['ServiceCreated']);
  });

  test('of nothing is NOT_FOUND', async () => {
    await expect(containers().why(WhyRequest.create({ target: 'none' }))).rejects.toMatchObject({ code: Code.notFound });
  });
});

describe('Watch', () => {
  test('tells of a slot that gets a place, of its states, of a lost node and of the end', async () => {
    const seen: string[] = [];
    const show = ({ container, removed, synced }: ContainerEvent) =>
      synced ? 'synced' : `${removed ? 'gone' : Object.keys(ContainerState)[container!.state]} ${container!.id || container!.name}`;
    const lost = Machine.create({ name: 'n1', gateway: 'g1', lostAt: 5 });
    const steps = new Map<string, () => Promise<unknown>>([
      ['synced', () => world.commit(...containerWrites('cc03', { key, slot: 3, state: ContainerState.starting }))],
      ['starting cc03', () => world.commit(...containerWrites('cc03', { key, slot: 3 }))],
      ['running cc03', () => world.commit({ kind: 'put', key: keys.machine('n1'), value: Machine.encode(lost) })],
      [
        'lost cc03',
        () => world.commit({ kind: 'delete', key: keys.assignment('n1', 'cc03') }, { kind: 'delete', key: keys.status('n1', 'cc03') }),
      ],
    ]);
    for await (const event of containers().watch(WatchContainersRequest.create({ app: 'shop' }))) {
      const text = show(event);
      seen.push(text);
      if (text === 'gone cc03') break;
      const step = steps.get(text);
      steps.delete(text);
      if (step) void step();
    }
    expect(seen.slice(0, 4).sort()).toEqual(['failed aabb02', 'pending shop/web.3', 'running aabb01', 'synced']);
    expect(seen.slice(4)).toEqual(
      expect.arrayContaining(['starting cc03', 'gone shop/web.3', 'running cc03', 'lost aabb01', 'lost cc03', 'gone cc03']),
    );
  });

  test('tells of slots that a scaling adds and takes away', async () => {
    const seen: string[] = [];
    const scale = (replicas: number) => world.client(ServicesService).scale(ScaleRequest.create({ key, replicas }));
    for await (const { container, removed, synced } of containers().watch(WatchContainersRequest.create({ service: 'web' }))) {
      if (synced) void scale(4);
      else if (container?.name === 'shop/web.4') {
        seen.push(removed ? 'gone' : 'pending');
        if (removed) break;
        void scale(3);
      }
    }
    expect(seen).toEqual(['pending', 'gone']);
  });
});
