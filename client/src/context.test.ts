import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code } from '@gantry/common';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findContext, readContext } from './context.ts';
import { version } from './version.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gantry-context-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const good = { name: 'local', address: '127.0.0.1:7400', ca: 'a', certificate: 'b', key: 'c' };

function write(content: unknown, mode = 0o600): string {
  const path = join(folder, 'context.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content), { mode });
  chmodSync(path, mode);
  return path;
}

test('the option wins over the variable, the variable over a file above, that over the home folder', () => {
  const inner = join(folder, 'a/b');
  mkdirSync(inner, { recursive: true });
  expect(findContext({ cwd: inner, env: {} })).toBe(join(homedir(), '.config/gantry/context.json'));
  mkdirSync(join(folder, '.gantry'));
  writeFileSync(join(folder, '.gantry/context.json'), '{}');
  expect(findContext({ cwd: inner, env: {} })).toBe(join(folder, '.gantry/context.json'));
  expect(findContext({ cwd: inner, env: { GANTRY_CONTEXT: '/x' } })).toBe('/x');
  expect(findContext({ cwd: inner, env: { GANTRY_CONTEXT: '/x' }, file: '/y' })).toBe('/y');
});

test('a context is read, its namespace is default when it says none', () => {
  expect(readContext(write(good))).toEqual({ ...good, namespace: 'default' });
  expect(readContext(write({ ...good, namespace: 'team' })).namespace).toBe('team');
});

test.each([
  ['no JSON', '{', 'must be JSON'],
  ['no object', 'null', 'must have "name"'],
  ['no key', { ...good, key: '' }, 'must have "key"'],
  ['no port', { ...good, address: 'here' }, 'must be host:port'],
])('a file with %s is refused', (_what, content, message) => {
  const path = write(content);
  expect(() => readContext(path)).toThrow(message);
});

test('a file that others may read, or that is not there, is refused with a next step', () => {
  const path = write(good, 0o644);
  expect(() => readContext(path)).toThrow('chmod 600');
  expect(() => readContext(join(folder, 'nothing'))).toThrow(expect.objectContaining({ code: Code.failedPrecondition }) as Error);
});

test('the version is that of the package', () => {
  const { version: packaged } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  expect(version).toBe(packaged);
});
