import { demoEnvironment, demoFile, demoPort, visitDemo } from '@gantry/deploy';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isRunning, TestCluster } from './harness.ts';

let world: TestCluster;
let env: Record<string, string>;

beforeAll(async () => {
  world = await TestCluster.start();
  env = demoEnvironment(world.cluster);
});
afterAll(() => world?.stop());

const runningOf = (service: string) => async () => (await world.running({ app: 'demo', service })).length;

test('the demo answers through the published port of every node, across three tiers', async () => {
  const applied = await world.cli(['apply', '-f', demoFile, '--timeout', '60s'], { env });
  expect(applied.status, applied.stdout + applied.stderr).toBe(0);
  const answers = await Promise.all([1, 2, 3].map((node) => visitDemo(world.cluster, node)));
  for (const answer of answers) expect(answer).toMatch(/^web .* -> app .* -> data .*: visit \d+$/);
});

test('a rolling update under 50 requests a second loses none', async () => {
  const url = `http://${world.cluster.nodeAddress(2)}:${demoPort}/cgi-bin/index.cgi`;
  const failures: string[] = [];
  let sent = 0;
  let over = false;
  const pending = new Set<Promise<void>>();
  const visit = async () => {
    sent++;
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(10_000), headers: { connection: 'close' } });
      const text = await response.text();
      if (response.status !== 200) failures.push(`${response.status} ${text}`);
    } catch (error) {
      failures.push(String((error as Error).cause ?? error));
    }
  };
  const pace = setInterval(() => {
    if (over || pending.size > 200) return;
    const one = visit().finally(() => pending.delete(one));
    pending.add(one);
  }, 20);
  try {
    const applied = await world.cli(['apply', '-f', demoFile, '--timeout', '90s'], {
      env: { ...env, GREETING: 'hello' },
      timeoutMs: 120_000,
    });
    expect(applied.status, applied.stdout + applied.stderr).toBe(0);
    const restarted = await world.cli(['restart', 'demo/web'], { timeoutMs: 120_000 });
    expect(restarted.status, restarted.stdout + restarted.stderr).toBe(0);
    await world.until(
      'all of web are new and run',
      (all) => {
        const web = all.filter((one) => one.service === 'web');
        return web.length === 2 && web.every((one) => isRunning(one) && one.ready);
      },
      60_000,
    );
  } finally {
    over = true;
    clearInterval(pace);
    await Promise.all(pending);
  }
  expect(sent).toBeGreaterThan(100);
  expect(failures).toEqual([]);
}, 240_000);

test('load on the app tier makes the autoscaler add replicas, its end removes them', async () => {
  const app = (await world.running({ app: 'demo', service: 'app' }))[0]!;
  expect(await runningOf('app')()).toBe(2);
  const burners = [];
  const over = new AbortController();
  for (let index = 0; index < 4; index++) {
    burners.push(
      (async () => {
        while (!over.signal.aborted) {
          const result = await world.cli(['exec', app.name, '--', '/www/cgi-bin/burn.cgi'], { timeoutMs: 60_000 });
          if (result.status !== 0 && !over.signal.aborted) return; // the container was moved: the other burners go on
        }
      })(),
    );
  }
  try {
    await world.until('more of app run', (all) => all.filter((one) => one.service === 'app' && isRunning(one)).length > 2, 60_000);
  } finally {
    over.abort();
    await Promise.all(burners);
  }
  await world.until('two of app run', (all) => all.filter((one) => one.service === 'app').length === 2, 150_000);
}, 300_000);
