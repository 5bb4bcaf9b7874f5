import { execFile } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installation, run } from '@gantry/deploy';
import { afterAll, expect, test } from 'vitest';

const execute = promisify(execFile);
const parent = mkdtempSync(join(tmpdir(), 'gantry-up-'));
const folder = join(parent, 'cluster');
const script = (name: string) =>
  execute(process.execPath, [join(installation, `deploy/src/${name}.ts`), '--folder', folder], { timeout: 110_000 });

afterAll(async () => {
  await script('down');
  rmSync(parent, { recursive: true, force: true });
});

/** What of the kernel bears the cluster's mark. */
async function remains(id: string): Promise<string[]> {
  const mark = `gantry-${id}`;
  const processes = (await run('ps', ['-eo', 'args'])).split('\n').filter((line) => line.includes(parent) && !line.includes('vitest'));
  const namespaces = (await run('ip', ['netns'])).split('\n').filter((line) => line.startsWith(mark));
  const links = (await run('ip', ['-o', 'link'])).split('\n').filter((line) => line.includes(`gantry${id}`));
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(parent));
  const cgroups = globSync(`/sys/fs/cgroup/{,*/}${mark}*`);
  const tables = (await run('nft', ['list', 'tables'])).split('\n').filter((line) => line.includes(id));
  return [...processes, ...namespaces, ...links, ...mounts, ...cgroups, ...tables];
}

test('up brings the demo to answer on three hosts; down leaves nothing behind', async () => {
  const { stdout } = await script('up');
  expect(stdout).toMatch(/web \S+ -> app \S+ -> data \S+: visit \d+/);
  expect(stdout).toMatch(/demo\/web\.1/);
  expect(stdout).toMatch(/npm run down/);
  const { id } = JSON.parse(readFileSync(join(folder, 'cluster.json'), 'utf8')) as { id: string };
  expect((await remains(id)).length).toBeGreaterThan(5);

  const again = await script('up');
  expect(again.stdout).toMatch(/is up already/);

  await script('down');
  expect(await remains(id)).toEqual([]);
  expect(existsSync(folder)).toBe(false);
}, 240_000);
