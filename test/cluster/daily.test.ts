import { afterAll, beforeAll, expect, test } from 'vitest';
import { exactly, isRunning, sleepers, TestCluster } from './harness.ts';

let world: TestCluster;

beforeAll(async () => {
  world = await TestCluster.start();
});
afterAll(() => world?.stop());

const ok = async (args: readonly string[], input?: string) => {
  const result = await world.cli(args, input === undefined ? {} : { input });
  expect(result.status, `gantry ${args.join(' ')}\n${result.stdout}${result.stderr}`).toBe(0);
  return result.stdout;
};

const shop = (greeting: string) => `name: shop
services:
  front:
    image: ${world.cluster.registry}/gantry/busybox:1
    command: ["sh", "-c", "echo ${greeting} from $$SLOT; echo oops >&2; exec sleep 86400"]
    environment: { SLOT: any }
    init: true
    stop_grace_period: 1s
    volumes: ["things:/things"]
    configs: [{ source: note, target: /etc/note }]
    secrets: [key]
    deploy: { replicas: 1, update_config: { order: stop-first, monitor: 1s } }
volumes: { things: {} }
configs: { note: { content: "a note" } }
secrets: { key: { content: "s3cret" } }
`;

test('output of a container is read and followed, with its stream and time', async () => {
  await world.apply(shop('hello'));
  const { status, stdout, stderr } = await world.cli(['logs', 'shop/front']);
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'shop/front.1 | hello from any\n', stderr: 'shop/front.1 | oops\n' });
});

test('exec passes input, output, environment and exit code', async () => {
  expect(await ok(['exec', 'shop/front.1', '--', 'cat', '/etc/note'])).toBe('a note');
  expect(await ok(['exec', 'shop/front.1', '--', 'cat', '/run/secrets/key'])).toBe('s3cret');
  expect(await ok(['exec', '-i', 'shop/front.1', '--', 'tr', 'a-z', 'A-Z'], 'loud')).toBe('LOUD');
  const failed = await world.cli(['exec', 'shop/front.1', '--', 'sh', '-c', 'echo bad >&2; exit 7']);
  expect(failed).toMatchObject({ status: 7, stderr: 'bad\n' });
});

test('a named volume keeps its content over a roll, and its service stays on its node', async () => {
  await ok(['exec', 'shop/front.1', '--', 'sh', '-c', 'echo kept > /things/file']);
  const [before] = await world.running({ app: 'shop' });
  await world.apply(shop('good day'));
  const [after] = await world.until(
    'the new revision runs',
    (all) => all.length === 1 && all.every((one) => isRunning(one) && one.revision > before!.revision),
    30_000,
    { app: 'shop' },
  );
  expect(after!.node).toBe(before!.node);
  expect(after!.id).not.toBe(before!.id);
  expect(await ok(['exec', 'shop/front.1', '--', 'cat', '/things/file'])).toBe('kept\n');
});

test('undo goes back to the revision before, as a new one', async () => {
  const [before] = await world.running({ app: 'shop' });
  await ok(['rollout', 'undo', 'shop/front']);
  const [after] = await world.until(
    'it runs',
    (all) => all.length === 1 && all.every((one) => isRunning(one) && one.revision > before!.revision),
    30_000,
    { app: 'shop' },
  );
  expect(after!.revision).toBe(3);
  const logs = await world.until('it has spoken', () => true).then(() => ok(['logs', 'shop/front']));
  expect(logs).toContain('hello from any');
  expect(await ok(['rollout', 'history', 'shop/front'])).toMatch(/3[\s\S]*2[\s\S]*1/);
});

test('a revision that crashes is rolled back: the old one runs, apply exits 2', async () => {
  const bad = `name: fragile
services:
  one:
    image: ${world.cluster.registry}/gantry/busybox:1
    command: ["sh", "-c", "COMMAND"]
    init: true
    stop_grace_period: 1s
    restart: "no"
    deploy: { replicas: 2, update_config: { order: start-first, failure_action: rollback, monitor: 1s } }
`;
  await world.apply(bad.replace('COMMAND', 'exec sleep 86400'));
  const failed = await world.cli(['apply', '-f', '-', '--timeout', '40s'], { input: bad.replace('COMMAND', 'exit 3') });
  expect(failed.status, failed.stdout + failed.stderr).toBe(2);
  const after = await world.until('two of the old run', exactly(2), 30_000, { app: 'fragile' });
  expect(after.map((one) => one.revision)).toEqual([1, 1]);
});

test('a drain starts replacements before it stops, and shows its progress', async () => {
  await world.apply(sleepers(world.cluster, { app: 'drained', replicas: 6 }));
  const before = await world.until('six run', exactly(6), 30_000, { app: 'drained' });
  const node = before[0]!.node;
  const output = await ok(['node', 'drain', node]);
  expect(output).toMatch(/drain/i);
  const after = await world.until('six run elsewhere', (all) => exactly(6)(all) && all.every((one) => one.node !== node), 30_000, {
    app: 'drained',
  });
  expect(new Set(after.map((one) => one.slot)).size).toBe(6);
  await ok(['node', 'uncordon', node]);
});

test('a global service has one container on every node', async () => {
  await world.apply(sleepers(world.cluster, { app: 'all', service: 'every' }).replace('replicas: 1', 'mode: global'));
  const all = await world.until('one on each', exactly(3), 30_000, { app: 'all' });
  expect(new Set(all.map((one) => one.node)).size).toBe(3);
});

test('listings have a JSON form that holds what the table shows', async () => {
  const nodes = JSON.parse(await ok(['nodes', '-o', 'json'])) as { nodes: { name: string }[] };
  expect(nodes.nodes.map((node) => node.name).sort((a, b) => a.localeCompare(b))).toEqual(['n1', 'n2', 'n3']);
  const services = JSON.parse(await ok(['services', '-o', 'json'])) as { services: unknown[] };
  expect(services.services.length).toBeGreaterThan(2);
  expect(await ok(['version'])).toMatch(/0\.1\.0/);
});
