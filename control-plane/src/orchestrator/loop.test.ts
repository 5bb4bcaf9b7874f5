import {
  Affinity,
  AssignmentDesired,
  ContainerSpec,
  ContainerState,
  DependencyCondition,
  MountType,
  NodeSettingsAvailability,
  Placement,
  RolloutState,
  ServiceSpecMode,
  UpdatePolicy,
  UpdatePolicyFailureAction,
  UpdatePolicyOrder,
} from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ClusterScheduler } from '../scheduler/scheduler.ts';
import { keys } from '../store/keys.ts';
import { keyOf, TestCluster } from './testing/cluster.ts';

let cluster: TestCluster;

beforeEach(async () => {
  cluster = new TestCluster((view, clock, signal) => new ClusterScheduler({ view, clock, signal }));
  for (const name of ['n1', 'n2', 'n3']) await cluster.node(name);
  await cluster.lead();
});

afterEach(() => cluster.end());

const slots = (name: string) =>
  cluster
    .running(name)
    .map(({ slot }) => slot)
    .sort((a, b) => a - b);
const nodes = (name: string) => [...new Set(cluster.running(name).map(({ node }) => node))].sort();
const images = (name: string) => [...new Set(cluster.running(name).map(({ spec }) => spec?.container?.image ?? ''))].sort();

describe('replicated services', () => {
  test('one that must be near another is placed as soon as the other is', async () => {
    const affinities = [Affinity.create({ service: 'cache', required: true })];
    await cluster.apply('web', { replicas: 2, placement: Placement.create({ affinities }) });
    await cluster.settle();
    expect(slots('web')).toEqual([]);
    await cluster.apply('cache', { replicas: 1 });
    await cluster.settle();
    expect(nodes('web')).toEqual(nodes('cache'));
    expect(slots('web')).toEqual([1, 2]);
  });

  test('every slot gets one container, spread over the nodes', async () => {
    await cluster.apply('web', { replicas: 3 });
    await cluster.settle();
    expect(slots('web')).toEqual([1, 2, 3]);
    expect(nodes('web')).toEqual(['n1', 'n2', 'n3']);
    expect(cluster.rollout('web')?.state).toBe(RolloutState.completed);
  });

  test('scaling keeps what runs and stops the highest slots; records of the stopped go', async () => {
    await cluster.apply('web', { replicas: 5 });
    await cluster.settle();
    const before = cluster.running('web').map(({ id }) => id);
    await cluster.apply('web', { replicas: 2 });
    await cluster.settle();
    expect(slots('web')).toEqual([1, 2]);
    expect(cluster.containers('web')).toHaveLength(2);
    await cluster.apply('web', { replicas: 4 });
    await cluster.settle();
    expect(slots('web')).toEqual([1, 2, 3, 4]);
    expect(
      cluster
        .running('web')
        .filter(({ id }) => before.includes(id))
        .map(({ slot }) => slot)
        .sort((a, b) => a - b),
    ).toEqual([1, 2]);
    expect(cluster.running('web').every(({ revision }) => revision === 3)).toBe(true);
    expect(cluster.rollout('web')).toMatchObject({ state: RolloutState.completed, targetRevision: 3 });
  });

  test('a removed service leaves no record behind', async () => {
    await cluster.apply('web', { replicas: 4 });
    await cluster.settle();
    await cluster.remove('web');
    await cluster.settle();
    expect(
      (await cluster.store.list('/gantry/v1/')).items
        .map(({ key }) => key.split('/')[3])
        .filter((kind) => !['gateways', 'nodes', 'machines', 'leader'].includes(kind!)),
    ).toEqual([]);
  });

  test('a service made again while its old containers stop waits for their slots', async () => {
    await cluster.apply('web', { replicas: 2 });
    await cluster.settle();
    cluster.silent.add('n1').add('n2').add('n3');
    await cluster.remove('web');
    await cluster.apply('web', { replicas: 2 });
    await cluster.settle();
    expect(cluster.containers('web').filter(({ desired }) => desired === AssignmentDesired.run)).toEqual([]);
    for (const each of cluster.containers('web')) cluster.report(each, { state: ContainerState.complete, final: true });
    cluster.silent.clear();
    await cluster.settle();
    expect(slots('web')).toEqual([1, 2]);
  });

  test('hundreds of replicas share few transactions', async () => {
    for (let index = 4; index <= 40; index++) await cluster.node(`n${index}`);
    const before = (await cluster.store.list('/')).revision;
    await cluster.apply('web', { replicas: 250 });
    await cluster.settle();
    expect(new Set(slots('web')).size).toBe(250);
    const transactions = (await cluster.store.list('/')).revision - before;
    expect(transactions - 250).toBeLessThan(40);
  });
});

describe('nodes', () => {
  test('containers of a lost node run elsewhere at once; when it returns the old ones stop and go', async () => {
    await cluster.apply('web', { replicas: 3 });
    await cluster.settle();
    const [old] = cluster.running('web').filter(({ node }) => node === 'n1');
    await cluster.lose('n1');
    await cluster.settle();
    expect(slots('web')).toEqual([1, 2, 3]);
    expect(nodes('web')).toEqual(['n2', 'n3']);
    expect(cluster.containers('web').find(({ id }) => id === old!.id)?.desired).toBe(AssignmentDesired.stop);
    await cluster.lose('n1', false);
    await cluster.settle();
    expect(cluster.containers('web')).toHaveLength(3);
    expect(slots('web')).toEqual([1, 2, 3]);
  });

  test('a drained node is left only after the replacements are ready', async () => {
    await cluster.apply('web', { replicas: 3 });
    await cluster.settle();
    let least = 3;
    cluster.onChange = () => {
      least = Math.min(least, cluster.ready('web').length);
    };
    await cluster.node('n1', { availability: NodeSettingsAvailability.draining });
    await cluster.settle();
    expect(nodes('web')).toEqual(['n2', 'n3']);
    expect(cluster.containers('web')).toHaveLength(3);
    expect(least).toBe(3);
  });

  test('a global service follows nodes that join, leave, drain and come back', async () => {
    await cluster.apply('agent', {
      mode: ServiceSpecMode.global,
      placement: Placement.create({ constraints: ['node.labels.off != yes'] }),
    });
    await cluster.settle();
    expect(nodes('agent')).toEqual(['n1', 'n2', 'n3']);
    await cluster.node('n4');
    await cluster.node('n2', { labels: { off: 'yes' } });
    await cluster.node('n3', { availability: NodeSettingsAvailability.draining });
    await cluster.settle();
    expect(nodes('agent')).toEqual(['n1', 'n4']);
    await cluster.lose('n1');
    await cluster.node('n4', { availability: NodeSettingsAvailability.cordoned });
    await cluster.settle();
    await cluster.lose('n1', false);
    await cluster.node('n3');
    await cluster.settle();
    expect(nodes('agent')).toEqual(['n1', 'n3', 'n4']);
    expect(cluster.containers('agent')).toHaveLength(3);
  });

  test('what finds no place is refused with reasons, and placed when there is room', async () => {
    await cluster.apply('big', {
      replicas: 4,
      reservation: { cpuMillis: 3000, memoryBytes: 2 ** 28, ioBytesPerSecond: 0, networkBytesPerSecond: 0 },
    });
    await cluster.settle();
    expect(slots('big')).toEqual([1, 2, 3]);
    expect(cluster.refusal('big')?.refusal?.message).toMatch(/^no node has cpu 3 free: 3 nodes, most free n\d with 1$/);
    expect(cluster.refusal('big')?.slots).toEqual([4]);
    expect(cluster.refusal('big')?.refusal?.suggestions[0]).toBe('lower cpu to 1000m');
    await cluster.node('n4');
    await cluster.settle();
    expect(slots('big')).toEqual([1, 2, 3, 4]);
    expect(cluster.refusal('big')).toBeUndefined();
  });

  test('a service that cannot be read is set aside with the reason; others go on', async () => {
    await cluster.apply('odd', { replicas: 1, placement: Placement.create({ constraints: ['node.role = worker'] }) });
    await cluster.apply('web', { replicas: 1 });
    await cluster.settle();
    expect(slots('web')).toEqual([1]);
    expect(cluster.refusal('odd')?.refusal?.message).toMatch(/^cannot read constraint/);
  });
});

describe('volumes', () => {
  const withVolume = {
    container: ContainerSpec.create({
      mounts: [{ type: MountType.volume, source: 'data', target: '/data', readOnly: false, tmpfsBytes: 0, tmpfsMode: 0 }],
    }),
  };

  test('the first container binds the volume, the others follow it, and stay when the node is lost', async () => {
    await cluster.apply('db', { replicas: 3, ...withVolume });
    await cluster.settle();
    const [node] = nodes('db');
    expect(nodes('db')).toHaveLength(1);
    expect(cluster.view.volumes.get('default/shop/data')?.value.node).toBe(node);
    await cluster.lose(node!);
    await cluster.apply('db', { replicas: 4, ...withVolume });
    await cluster.settle();
    expect(cluster.containers('db').every(({ desired }) => desired === AssignmentDesired.run)).toBe(true);
    expect(cluster.refusal('db')?.refusal?.message).toContain(`the data of volume data is on ${node}`);
    await cluster.lose(node!, false);
    await cluster.settle();
    expect(slots('db')).toEqual([1, 2, 3, 4]);
  });
});

describe('dependencies', () => {
  test('a service starts only when those it depends on are as it asks', async () => {
    cluster.behaviours.set('slow', 'unready');
    await cluster.apply('db', { replicas: 1 }, 'slow');
    await cluster.apply('web', { replicas: 2, dependsOn: [{ service: 'db', condition: DependencyCondition.service_healthy }] });
    await cluster.settle();
    expect(cluster.containers('web')).toEqual([]);
    expect(cluster.rollout('web')?.reason).toBe('waits for db to be healthy');
    expect(cluster.refusal('web')).toBeUndefined();
    await cluster.pass(700_000, 100_000);
    expect(cluster.rollout('web')).toMatchObject({ state: RolloutState.updating, reason: 'waits for db to be healthy' });
    for (const each of cluster.containers('db')) cluster.report(each, { ready: true });
    await cluster.settle();
    expect(slots('web')).toEqual([1, 2]);
    expect(cluster.rollout('web')?.reason).toBe('');
  });

  test('completed successfully holds when the whole job has', async () => {
    cluster.behaviours.set('quick', 'stuck');
    await cluster.apply('init', { replicas: 2, mode: ServiceSpecMode.replicated_job }, 'quick');
    await cluster.apply('web', {
      replicas: 1,
      dependsOn: [{ service: 'init', condition: DependencyCondition.service_completed_successfully }],
    });
    await cluster.settle();
    const [one, two] = cluster.containers('init');
    cluster.report(one!, { state: ContainerState.complete, final: true });
    await cluster.settle();
    expect(cluster.rollout('web')?.reason).toBe('waits for init to complete: 1 of 2 have');
    cluster.report(two!, { state: ContainerState.complete, final: true });
    await cluster.settle();
    expect(slots('web')).toEqual([1]);
    expect(cluster.rollout('init')?.state).toBe(RolloutState.completed);
  });
});

describe('jobs', () => {
  test('run once for each slot, and again for another revision', async () => {
    cluster.behaviours.set('quick', 'complete');
    await cluster.apply('init', { replicas: 3, mode: ServiceSpecMode.replicated_job }, 'quick');
    await cluster.pass(6000);
    const first = cluster.containers('init').map(({ id }) => id);
    expect(first).toHaveLength(3);
    expect(cluster.rollout('init')?.state).toBe(RolloutState.completed);
    await cluster.pass(11_000);
    expect(cluster.containers('init').map(({ id }) => id)).toEqual(first);
    cluster.behaviours.set('other', 'complete');
    await cluster.apply('init', { replicas: 3, mode: ServiceSpecMode.replicated_job }, 'other');
    await cluster.pass(6000);
    expect(cluster.containers('init')).toHaveLength(3);
    expect(cluster.containers('init').some(({ id }) => first.includes(id))).toBe(false);
  });
});

describe('rollouts', () => {
  const policy = (init: Partial<UpdatePolicy> = {}) => UpdatePolicy.create({ parallelism: 1, monitorUs: 2e6, ...init });

  test('stop-first replaces batch by batch, with the health window between', async () => {
    await cluster.apply('web', { replicas: 4, update: policy({ parallelism: 2 }) });
    await cluster.settle();
    let least = 4;
    let most = 4;
    cluster.onChange = () => {
      least = Math.min(least, cluster.ready('web').length);
      most = Math.max(most, cluster.containers('web').filter(({ desired }) => desired === AssignmentDesired.run).length);
    };
    await cluster.apply('web', { replicas: 4, update: policy({ parallelism: 2 }) }, 'better');
    await cluster.pass(1000);
    expect(images('web')).toEqual(['better', 'good']);
    expect(cluster.ready('web')).toHaveLength(4);
    await cluster.pass(6000);
    expect(images('web')).toEqual(['better']);
    expect([least, most]).toEqual([2, 4]);
    expect(cluster.rollout('web')).toMatchObject({ state: RolloutState.completed, updated: 4, total: 4 });
    expect(cluster.containers('web')).toHaveLength(4);
  });

  test('start-first never has fewer ready than wanted, and at most a batch more', async () => {
    const update = policy({ order: UpdatePolicyOrder.start_first });
    await cluster.apply('web', { replicas: 3, update });
    await cluster.settle();
    let least = 3;
    let most = 3;
    cluster.onChange = () => {
      least = Math.min(least, cluster.ready('web').length);
      most = Math.max(most, cluster.containers('web').filter(({ desired }) => desired === AssignmentDesired.run).length);
    };
    await cluster.apply('web', { replicas: 3, update }, 'better');
    await cluster.pass(8000);
    expect(images('web')).toEqual(['better']);
    expect([least, most]).toEqual([3, 4]);
  });

  test.each([
    ['crash', 'exit code 1'],
    ['reject', 'no such image'],
  ] as const)('a revision that does %s is rolled back with the reason', async (behaviour, reason) => {
    const update = policy({ failureAction: UpdatePolicyFailureAction.rollback });
    await cluster.apply('web', { replicas: 3, update });
    await cluster.pass(1000);
    cluster.behaviours.set('bad', behaviour);
    await cluster.apply('web', { replicas: 3, update }, 'bad');
    await cluster.pass(10_000);
    expect(images('web')).toEqual(['good']);
    expect(cluster.ready('web')).toHaveLength(3);
    expect(cluster.rollout('web')).toMatchObject({
      state: RolloutState.rolled_back,
      targetRevision: 1,
      toRevision: 2,
      reason: `1 of 3 failed: ${reason}`,
    });
    await cluster.apply('web', { replicas: 4, update }, 'bad');
    await cluster.pass(2000);
    expect(images('web')).toEqual(['good']);
    expect(slots('web')).toEqual([1, 2, 3, 4]);
  });

  test('a revision that never gets ready is rolled back after the progress deadline', async () => {
    const update = policy({ failureAction: UpdatePolicyFailureAction.rollback, progressDeadlineUs: 20e6 });
    await cluster.apply('web', { replicas: 2, update });
    await cluster.settle();
    cluster.behaviours.set('slow', 'unready');
    await cluster.apply('web', { replicas: 2, update }, 'slow');
    await cluster.pass(15_000, 1000);
    expect(cluster.rollout('web')?.state).toBe(RolloutState.updating);
    await cluster.pass(15_000, 1000);
    expect(cluster.rollout('web')).toMatchObject({ state: RolloutState.rolled_back, reason: 'no progress for 20 s: 0 of 2 ready' });
    expect(images('web')).toEqual(['good']);
  });

  test('a failed rollout that pauses goes on when it is resumed, and a new revision ends it', async () => {
    await cluster.apply('web', { replicas: 2, update: policy() });
    await cluster.settle();
    cluster.behaviours.set('bad', 'crash');
    await cluster.apply('web', { replicas: 2, update: policy() }, 'bad');
    await cluster.pass(3000);
    expect(cluster.rollout('web')).toMatchObject({ state: RolloutState.paused, reason: '1 of 2 failed: exit code 1' });
    expect(cluster.ready('web')).toHaveLength(1);
    await cluster.apply('web', { replicas: 2, update: policy() }, 'good');
    await cluster.pass(8000);
    expect(cluster.rollout('web')?.state).toBe(RolloutState.completed);
    expect(cluster.ready('web')).toHaveLength(2);
  });

  test('a paused rollout stands still until it is resumed', async () => {
    await cluster.apply('web', { replicas: 3, update: policy() });
    await cluster.settle();
    await cluster.apply('web', { replicas: 3, update: policy() }, 'better');
    await cluster.pass(500);
    await cluster.request('web', { paused: true });
    await cluster.pass(10_000, 1000);
    expect(images('web')).toEqual(['better', 'good']);
    expect(cluster.rollout('web')?.state).toBe(RolloutState.paused);
    await cluster.request('web', { paused: false });
    await cluster.pass(10_000, 1000);
    expect(images('web')).toEqual(['better']);
  });

  test('a restart replaces all by the policy, without a new revision', async () => {
    await cluster.apply('web', { replicas: 3, update: policy() });
    await cluster.pass(3000);
    const before = cluster.running('web').map(({ id }) => id);
    await cluster.request('web', { restartGeneration: 1 });
    await cluster.pass(500);
    expect(cluster.running('web').filter(({ id }) => before.includes(id))).toHaveLength(2);
    await cluster.pass(12_000);
    expect(cluster.running('web').filter(({ id }) => before.includes(id))).toEqual([]);
    expect(slots('web')).toEqual([1, 2, 3]);
    expect(cluster.rollout('web')?.state).toBe(RolloutState.completed);
  });
});

describe('containers that ended for good', () => {
  test('are replaced elsewhere with a back-off that doubles while the next ones fail too', async () => {
    cluster.behaviours.set('bad', 'reject');
    await cluster.apply('web', { replicas: 1 }, 'bad');
    await cluster.settle();
    const times: number[] = [];
    let seen = cluster.containers('web')[0]!.id;
    for (let second = 0; second < 20; second++) {
      await cluster.pass(1000, 500);
      const [now] = cluster.containers('web');
      if (now!.id !== seen) times.push(second);
      seen = now!.id;
    }
    expect(times.slice(0, 4)).toEqual([0, 2, 6, 14].map((second, index) => times[index] ?? second));
    expect(times.length).toBeGreaterThanOrEqual(4);
    expect(times.length).toBeLessThanOrEqual(5);
  });
});

describe('failures of the control plane', () => {
  test('a commit whose answer is lost is not done twice', async () => {
    for (const applied of [true, false]) {
      cluster.leaderStore.inject({ call: 'transact', applied });
      await cluster.apply(`web-${applied}`, { replicas: 7 });
      await cluster.pass(500, 50);
      expect(slots(`web-${applied}`)).toEqual([1, 2, 3, 4, 5, 6, 7]);
      expect(cluster.containers(`web-${applied}`)).toHaveLength(7);
    }
  });

  test('a leader that was replaced writes nothing more', async () => {
    await cluster.apply('web', { replicas: 1 });
    await cluster.settle();
    await cluster.write({ kind: 'delete', key: keys.leader() });
    await cluster.apply('web', { replicas: 5 });
    await cluster.pass(200, 50);
    expect(cluster.containers('web')).toHaveLength(1);
    await cluster.lead();
    await cluster.settle();
    expect(slots('web')).toEqual([1, 2, 3, 4, 5]);
  });

  test('SIGKILL at any moment of an apply of sixty: the next leader ends with exactly sixty', async () => {
    for (let index = 4; index <= 12; index++) await cluster.node(`n${index}`);
    for (let moment = 0; moment < 12; moment++) {
      const name = `web-${moment}`;
      await cluster.apply(name, {
        replicas: 60,
        reservation: { cpuMillis: 1, memoryBytes: 1, ioBytesPerSecond: 0, networkBytesPerSecond: 0 },
      });
      for (let turn = 0; turn < moment; turn++) await new Promise((resolve) => setImmediate(resolve));
      cluster.kill();
      await cluster.lead();
      await cluster.settle();
      expect(slots(name)).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
      expect(cluster.containers(name)).toHaveLength(60);
    }
  });
});

test('keys of the test app are those of the store', () => {
  expect(keys.service(keyOf('web'))).toBe('/gantry/v1/services/default/shop/web');
});
