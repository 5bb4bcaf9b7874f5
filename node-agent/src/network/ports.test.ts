import { ManualClock } from '@gantry/common';
import { expect, test } from 'vitest';
import { PortRules } from './ports.ts';
import type { PublishedPorts } from './ports-plan.ts';

const table = { table: 'gantry', bridge: 'gbr', gateway: '10.0.0.1', subnet: '10.0.0.0/24', clusterCidr: '10.0.0.0/8' };

function to(...addresses: string[]): PublishedPorts {
  return new Map([['tcp/8080', { protocol: 'tcp', published: 8080, target: 80, addresses }]]);
}

/** An nft whose runs the test finishes. */
function manualNft() {
  const runs: { script: string; done: () => void; fail: (error: Error) => void }[] = [];
  const run = (script: string) =>
    new Promise<void>((resolve, reject) => {
      runs.push({ script, done: resolve, fail: reject });
    });
  return { runs, run };
}

test('changes during and soon after a run gather into one more run, and everyone waits for it', async () => {
  const { runs, run } = manualNft();
  const clock = new ManualClock();
  const rules = new PortRules(table, { run, clock });
  const first = rules.set(to('10.0.0.2'));
  const second = rules.set(to('10.0.0.3'));
  expect(runs).toHaveLength(1);
  runs[0]?.done();
  await first;
  await clock.advance(10);
  const third = rules.set(to('10.0.0.4'));
  expect(runs).toHaveLength(1);
  await clock.advance(10);
  expect(runs).toHaveLength(2);
  expect(runs[1]?.script).toContain('10.0.0.4:80');
  expect(runs[1]?.script).not.toContain('10.0.0.3');
  runs[1]?.done();
  await Promise.all([second, third]);
});

test('after a failure the table is made anew', async () => {
  const { runs, run } = manualNft();
  const clock = new ManualClock();
  const rules = new PortRules(table, { run, clock });
  const first = rules.set(to('10.0.0.2'));
  runs[0]?.done();
  await first;
  const second = rules.set(to('10.0.0.3'));
  expect(runs[1]?.script).not.toContain('delete table');
  runs[1]?.fail(new Error('busy'));
  await expect(second).rejects.toThrow('busy');
  const third = rules.set(to('10.0.0.3'));
  expect(runs[2]?.script).toContain('delete table ip gantry');
  runs[2]?.done();
  await third;
});

test('equal ports run nothing', async () => {
  const { runs, run } = manualNft();
  const clock = new ManualClock();
  const rules = new PortRules(table, { run, clock });
  const first = rules.set(to('10.0.0.2'));
  runs[0]?.done();
  await first;
  await rules.set(to('10.0.0.2'));
  expect(runs).toHaveLength(1);
});
