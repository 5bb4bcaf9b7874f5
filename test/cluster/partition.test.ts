import { afterAll, beforeAll, expect, test } from 'vitest';
import { exactly, isRunning, processExists, sleepers, TestCluster } from './harness.ts';

let world: TestCluster;

beforeAll(async () => {
  world = await TestCluster.start();
});
afterAll(() => world?.stop());

test('containers of a host that is cut off run elsewhere within 5 s; once it is back nothing runs twice', async () => {
  await world.apply(sleepers(world.cluster, { replicas: 9, extra: 'stop_signal: SIGTERM' }));
  const before = await world.until('nine run', exactly(9, 'sleeper'));
  const cutOff = before.filter((one) => one.node === 'n2');
  expect(cutOff.length).toBeGreaterThan(0);

  const cutAt = performance.now();
  await world.cluster.setLink(2, false);
  const elsewhere = await world.until(
    'nine run on the others',
    (all) => all.filter((one) => isRunning(one) && one.node !== 'n2').length === 9,
  );
  const tookMs = performance.now() - cutAt;
  expect(tookMs).toBeLessThan(5000);
  expect(new Set(elsewhere.filter((one) => one.node !== 'n2').map((one) => one.slot)).size).toBe(9);
  // nobody could tell the cut-off host: its containers run on
  expect(cutOff.every((one) => processExists(one.pid))).toBe(true);

  await world.cluster.setLink(2, true);
  const after = await world.until('nine run and nothing else exists', exactly(9, 'sleeper'));
  expect(new Set(after.map((one) => one.slot)).size).toBe(9);
  expect(cutOff.filter((one) => processExists(one.pid))).toEqual([]);
});
