import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Launcher } from './launcher.ts';

let launcher: Launcher;

beforeEach(() => {
  launcher = new Launcher();
});

afterEach(() => launcher.close());

test('a program gets its arguments as they are, and its outputs and exit code come back', async () => {
  const words = ['plain', 'two words', "it's", '$HOME `id` "x" \\n', '', '* ; & | >'];
  const { code, output } = await launcher.run('/bin/sh', [
    '-c',
    'for one; do printf "[%s]\\n" "$one"; done; echo bad >&2; exit 3',
    'sh',
    ...words,
  ]);
  expect(code).toBe(3);
  expect(output).toBe(`${words.map((word) => `[${word}]`).join('\n')}\nbad`);
});

test('programs run side by side, and each answer finds its caller', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-launcher-'));
  const gate = join(folder, 'gate');
  try {
    const slow = launcher.run('/bin/sh', ['-c', 'until test -e "$0"; do sleep 0.01; done; echo slow', gate]);
    const many = await Promise.all(Array.from({ length: 40 }, (_, index) => launcher.run('/bin/echo', [String(index)])));
    expect(many).toEqual(Array.from({ length: 40 }, (_, index) => ({ code: 0, output: String(index) })));
    // only now may the slow one end
    writeFileSync(gate, '');
    expect(await slow).toEqual({ code: 0, output: 'slow' });
  } finally {
    writeFileSync(gate, '');
    rmSync(folder, { recursive: true });
  }
});

test('a program that is not there is an exit code with the name', async () => {
  expect(await launcher.run('/no/such/program', [])).toEqual({ code: 127, output: expect.stringContaining('/no/such/program') });
});

test('an argument that would end the line is refused', () => {
  expect(() => launcher.run('/bin/echo', ['a\nid'])).toThrow('must not hold a line break');
});

/** The shells that this process has started. */
function shells(): number[] {
  const children = readdirSync('/proc/self/task').flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, 'utf8').trim().split(' '),
  );
  return children.filter((pid) => pid !== '' && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('read -r line')).map(Number);
}

test('when the shell is killed its callers are told, and the next one gets a new shell', async () => {
  await launcher.run('/bin/echo', ['once']);
  const lost = expect(launcher.run('/bin/sleep', ['1'])).rejects.toThrow('lost the shell');
  for (const pid of shells()) process.kill(pid, 'SIGKILL');
  await lost;
  expect(await launcher.run('/bin/echo', ['again'])).toEqual({ code: 0, output: 'again' });
});
