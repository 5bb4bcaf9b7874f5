import { Code, type GantryError } from '@gantry/common';
import { ClusterService, ListNodesRequest, NodesService, StatusRequest } from '@gantry/proto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exactly, isRunning, processExists, sleepers, TestCluster } from './harness.ts';

let world: TestCluster;

beforeAll(async () => {
  world = await TestCluster.start({ controlPlanes: 2 });
});
afterAll(() => world?.stop());

const leader = async (): Promise<number> => {
  for (const index of [0, 1]) {
    if (!world.cluster.alive(`control-plane-${index}`)) continue;
    const { leader: name } = await world.client(ClusterService, index).status(StatusRequest.create());
    if (name) return Number(name.replace('cp', ''));
  }
  throw new Error('nobody leads');
};

test('a control plane killed at ten moments of an apply of 60: exactly 60 run afterwards', async () => {
  for (let moment = 0; moment < 10; moment++) {
    const app = `wave${moment}`;
    const victim = await leader();
    const applying = world.cli(['apply', '-f', '-', '--detach'], { input: sleepers(world.cluster, { app, replicas: 60 }) });
    // the kill falls on a later event each time: from before the first container exists to when most run
    const threshold = moment * 6;
    await world
      .until(`${threshold} run`, (all) => all.filter((one) => one.app === app && isRunning(one)).length >= threshold, 20_000)
      .catch(() => undefined);
    await world.cluster.kill(`control-plane-${victim}`);
    await applying;
    await world.cluster.startControlPlane(victim);
    // an apply whose answer was lost is sent again by its user
    await world.apply(sleepers(world.cluster, { app, replicas: 60 }));
    const all = await world.until('sixty run', exactly(60), 60_000, { app });
    expect(new Set(all.map((one) => one.slot)).size).toBe(60);
    await world.cli(['rm', '--yes', app]);
    await world.until('all are gone', (rest) => rest.length === 0, 60_000, { app });
  }
}, 600_000);

test('the leader is killed: the other one leads within 5 s', async () => {
  const victim = await leader();
  const killedAt = performance.now();
  await world.cluster.kill(`control-plane-${victim}`);
  const status = world.client(ClusterService, 1 - victim);
  for (;;) {
    const { leader: name } = await status.status(StatusRequest.create());
    if (name === `cp${1 - victim}`) break;
    expect(performance.now() - killedAt).toBeLessThan(5000);
  }
  await world.cluster.startControlPlane(victim);
});

test('etcd away for 20 s: containers run on, the API says UNAVAILABLE, then all goes on by itself', async () => {
  await world.apply(sleepers(world.cluster, { app: 'steady', replicas: 6 }));
  const before = await world.until('six run', exactly(6), 30_000, { app: 'steady' });
  await world.cluster.kill('etcd');
  const deadline = performance.now() + 20_000;
  const refused = await world.cli(['apply', '-f', '-', '--detach'], { input: sleepers(world.cluster, { app: 'late', replicas: 2 }) });
  expect(refused.status).toBe(1);
  expect(refused.stderr).toMatch(/store|etcd|unavailable/i);
  await expect(
    world
      .client(NodesService)
      .list(ListNodesRequest.create(), { deadlineMs: 4000 })
      .then(
        () => 'answered',
        (error: GantryError) => error.code,
      ),
  ).resolves.toSatisfy((outcome) => outcome === 'answered' || outcome === Code.unavailable);
  while (performance.now() < deadline) {
    expect(before.every((one) => processExists(one.pid))).toBe(true);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await world.cluster.startEtcd();
  const after = await world.until('six run', exactly(6), 30_000, { app: 'steady' });
  expect(new Set(after.map((one) => one.pid))).toEqual(new Set(before.map((one) => one.pid)));
  await world.apply(sleepers(world.cluster, { app: 'late', replicas: 2 }));
  await world.until('two more run', exactly(2), 30_000, { app: 'late' });
});

test('Redis flushed, killed and away for 30 s: applies, restarts and fail-over go on; operations work again after', async () => {
  await world.apply(sleepers(world.cluster, { app: 'r', replicas: 4 }));
  await world.cluster.kill('redis');
  const gone = performance.now();
  await world.apply(sleepers(world.cluster, { app: 'r', replicas: 6 }));
  const all = await world.until('six run', exactly(6), 30_000, { app: 'r' });
  process.kill(all[0]!.pid, 'SIGKILL');
  await world.until(
    'the killed one runs again',
    (now) => now.some((one) => one.id === all[0]!.id && isRunning(one) && one.restarts === 1),
    30_000,
    { app: 'r' },
  );
  const victim = all.find((one) => one.node === 'n3');
  if (victim) {
    await world.cluster.setLink(3, false);
    await world.until('six run without n3', (now) => now.filter((one) => isRunning(one) && one.node !== 'n3').length === 6, 30_000, {
      app: 'r',
    });
    await world.cluster.setLink(3, true);
    await world.until('six run', exactly(6), 30_000, { app: 'r' });
  }
  while (performance.now() - gone < 30_000) await world.nodes.list(ListNodesRequest.create());
  await world.cluster.startRedis();
  const drained = await world.cli(['node', 'drain', 'n1'], { timeoutMs: 60_000 });
  expect(drained.status, drained.stdout + drained.stderr).toBe(0);
  expect((await world.running({ node: 'n1' })).length).toBe(0);
  await world.until('six run elsewhere', exactly(6), 30_000, { app: 'r' });
  await world.cli(['node', 'uncordon', 'n1']);
}, 180_000);
