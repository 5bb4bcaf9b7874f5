import { afterAll, beforeAll, expect, test } from 'vitest';
import { exactly, TestCluster } from './harness.ts';

let world: TestCluster;

beforeAll(async () => {
  world = await TestCluster.start();
});
afterAll(() => world?.stop());

const manifest = (cpus: string, memory: string) => `name: big
services:
  hog:
    image: ${world.cluster.registry}/gantry/busybox:1
    command: ["sleep", "86400"]
    init: true
    stop_grace_period: 1s
    deploy:
      replicas: 1
      resources: { reservations: { cpus: "${cpus}", memory: ${memory} } }
`;

test('what cannot fit is refused with funnel, nearest nodes, amounts, and advice that works', async () => {
  const refused = await world.cli(['apply', '-f', '-', '--timeout', '20s'], { input: manifest('3', '64M') });
  expect(refused.status, refused.stdout + refused.stderr).toBe(3);

  const why = await world.cli(['why', 'big/hog']);
  expect(why.status, why.stderr).toBe(0);
  expect(why.stdout).toMatch(/3 nodes/);
  expect(why.stdout).toMatch(/cpu/);
  expect(why.stdout).toMatch(/nearest/);
  expect(why.stdout).toMatch(/short|missing/);
  const advice = /lower cpu to (\S+)/.exec(why.stdout);
  expect(advice, why.stdout).not.toBeNull();

  const cpus = advice![1]!.endsWith('m') ? String(Number.parseInt(advice![1]!, 10) / 1000) : advice![1]!;
  await world.apply(manifest(cpus, '64M'));
  await world.until('it runs', exactly(1, 'hog'));
});

test('why of a placed container names its node and the scores', async () => {
  const why = await world.cli(['why', 'big/hog.1']);
  expect(why.status, why.stderr).toBe(0);
  expect(why.stdout).toMatch(/n[123]/);
  expect(why.stdout).toMatch(/score/);
});

test('plan shows the change and where it would go, and changes nothing', async () => {
  const same = await world.cli(['plan', '-f', '-'], { input: manifest('3', '64M') });
  expect(same.status, same.stderr).toBe(10);
  expect(same.stdout).toMatch(/cpu/);
  const containers = await world.running();
  expect(containers).toHaveLength(1);
});
