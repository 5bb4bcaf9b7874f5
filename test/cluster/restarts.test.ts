import { afterAll, beforeAll, expect, test } from 'vitest';
import { exactly, isRunning, processExists, sleepers, TestCluster } from './harness.ts';

let world: TestCluster;

beforeAll(async () => {
  world = await TestCluster.start();
});
afterAll(() => world?.stop());

test('a main process that is killed is restarted on its node, later each time, and ps tells why', async () => {
  await world.apply(sleepers(world.cluster, { replicas: 1 }));
  const [before] = await world.running({ service: 'sleeper' });
  const startedAt: number[] = [before!.startedAt];
  for (let kill = 1; kill <= 3; kill++) {
    const [victim] = await world.running({ service: 'sleeper' });
    process.kill(victim!.pid, 'SIGKILL');
    const [after] = await world.until(`restart ${kill}`, (all) => all.some((one) => isRunning(one) && one.restarts === kill));
    startedAt.push(after!.startedAt);
    expect(after).toMatchObject({ id: before!.id, node: before!.node, restarts: kill, lastExitCode: 137 });
    expect(after!.lastReason).toMatch(/signal 9|SIGKILL|killed/i);
  }
  const gaps = startedAt.slice(1).map((at, index) => (at - startedAt[index]!) / 1e6);
  // 1 s, 2 s, 4 s of back-off, whatever the machine adds
  expect(gaps[0]).toBeGreaterThanOrEqual(0.8);
  expect(gaps[1]).toBeGreaterThanOrEqual(1.6);
  expect(gaps[2]).toBeGreaterThanOrEqual(3.2);
  const { stdout } = await world.cli(['ps', 'test/sleeper']);
  expect(stdout).toMatch(/sleeper\.1.*\b3\b/);
});

test('an agent that is killed finds all its containers again and stops none', async () => {
  await world.apply(sleepers(world.cluster, { replicas: 6 }));
  const before = await world.until('six run', exactly(6, 'sleeper'));
  const pids = new Map(before.map((one) => [one.id, one.pid]));
  await world.cluster.kill('agent-n1');
  await world.cluster.startAgent(1);
  await world.cluster.ready('agent-n1');
  const after = await world.until('six run', exactly(6, 'sleeper'));
  expect(new Map(after.map((one) => [one.id, one.pid]))).toEqual(pids);
  expect(after.every((one) => processExists(one.pid))).toBe(true);
  expect(after.map((one) => one.restarts)).toEqual(before.map((one) => one.restarts));
});

test('what ended while its agent was away is reported and restarted by the new one', async () => {
  const [victim] = (await world.running({ node: 'n2' })).filter((one) => one.service === 'sleeper');
  await world.cluster.kill('agent-n2');
  process.kill(victim!.pid, 'SIGKILL');
  await world.cluster.startAgent(2);
  await world.cluster.ready('agent-n2');
  const after = await world.until('it runs again', (all) =>
    all.some((one) => one.id === victim!.id && isRunning(one) && one.pid !== victim!.pid),
  );
  expect(after.find((one) => one.id === victim!.id)).toMatchObject({ restarts: victim!.restarts + 1, lastExitCode: 137 });
});

test('removing the app removes every container and process', async () => {
  const before = await world.running();
  const result = await world.cli(['rm', '--yes', 'test']);
  expect(result.status, result.stderr).toBe(0);
  await world.until('nothing is left', (all) => all.length === 0);
  expect(before.filter((one) => processExists(one.pid))).toEqual([]);
});
