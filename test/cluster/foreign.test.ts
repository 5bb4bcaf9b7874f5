import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installation } from '@gantry/deploy';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestCluster } from './harness.ts';

const execute = promisify(execFile);
let world: TestCluster;
let folder: string;

beforeAll(async () => {
  world = await TestCluster.start({ nodes: 1 });
  folder = mkdtempSync(join(tmpdir(), 'gantry-python-'));
});
afterAll(async () => {
  await world?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('a Python client finds the API by reflection, submits an app and watches it run', async () => {
  const script = join(installation, 'test/cluster/foreign_client.py');
  await execute('protoc', ['-I', join(installation, 'proto'), `--python_out=${folder}`, 'gantry/v1/model.proto', 'gantry/v1/api.proto'], {
    cwd: installation,
  });
  const args = [script, world.cluster.contextFile, `${world.cluster.registry}/gantry/busybox:1`];
  const { stdout } = await execute('/usr/bin/python3', args, { timeout: 60_000, env: { ...process.env, PYTHONPATH: folder } });
  expect(stdout.trim().split('\n')).toEqual(['health SERVING', 'reflection gantry.v1.Apps', 'applied web created', 'running 2', 'deleted']);
});
