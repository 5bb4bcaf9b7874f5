import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code } from '@gantry/common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createSealer, loadClusterKey } from './sealer.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gantry-sealer-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('what was sealed opens again, and no two envelopes are alike', () => {
  const sealer = createSealer(Buffer.alloc(32, 1));
  const first = sealer.seal(Buffer.from('canary'), 'a');
  const second = sealer.seal(Buffer.from('canary'), 'a');
  expect(sealer.open(first, 'a').toString()).toBe('canary');
  expect(Buffer.from(first).equals(Buffer.from(second))).toBe(false);
  expect(Buffer.from(first).includes('canary')).toBe(false);
});

test('another key, another context and any changed or missing byte are refused', () => {
  const sealer = createSealer(Buffer.alloc(32, 1));
  const sealed = sealer.seal(Buffer.from('canary'), 'a');
  expect(() => createSealer(Buffer.alloc(32, 2)).open(sealed, 'a')).toThrow(expect.objectContaining({ code: Code.dataLoss }));
  expect(() => sealer.open(sealed, 'b')).toThrow();
  for (let index = 0; index < sealed.length; index++) {
    const changed = Buffer.from(sealed);
    changed[index]! ^= 1;
    expect(() => sealer.open(changed, 'a')).toThrow();
    expect(() => sealer.open(sealed.slice(0, index), 'a')).toThrow();
  }
});

test('the key file is made once, 0600, also when two processes start together', async () => {
  const path = join(folder, 'made', 'cluster.key');
  const [first, second] = await Promise.all([loadClusterKey(path), loadClusterKey(path)]);
  expect(first).toEqual(second);
  expect(await loadClusterKey(path)).toEqual(first);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(join(folder, 'made'))).toEqual(['cluster.key']);
});

test('a key file of a wrong size is refused, not replaced', async () => {
  const path = join(folder, 'short.key');
  await writeFile(path, 'short');
  await chmod(path, 0o600);
  await expect(loadClusterKey(path)).rejects.toMatchObject({ code: Code.dataLoss });
});
