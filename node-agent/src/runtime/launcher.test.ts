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
  const slow = launcher.run('/bin/sh', ['-c', 'while ! test -e "$0"; do sleep 0.01; done; echo slow', `/proc/${process.pid}/fd/9999`]);
  let over = false;
  void slow
    .catch(() => {})
    .finally(() => {
      over = true;
    });
  const many = await Promise.all(Array.from({ length: 40 }, (_, index) => launcher.run('/bin/echo', [String(index)])));
  expect(many).toEqual(Array.from({ length: 40 }, (_, index) => ({ code: 0, output: String(index) })));
  expect(over).toBe(false);
});

test('a program that is not there is an exit code with the name', async () => {
  expect(await launcher.run('/no/such/program', [])).toEqual({ code: 127, output: expect.stringContaining('/no/such/program') });
});

test('an argument that would end the line is refused', () => {
  expect(() => launcher.run('/bin/echo', ['a\nid'])).toThrow('must not hold a line break');
});

test('when the shell is killed its callers are told, and the next one gets a new shell', async () => {
  const { output } = await launcher.run('/bin/sh', ['-c', 'cat /proc/self/loginuid >/dev/null 2>&1; echo $PPID']);
  expect(output).toMatch(/^\d+$/);
  const lost = expect(launcher.run('/bin/sh', ['-c', `kill -9 $(cat /proc/${process.pid}/task/*/children)`])).rejects.toThrow(
    'lost the shell',
  );
  await lost;
  expect(await launcher.run('/bin/echo', ['again'])).toEqual({ code: 0, output: 'again' });
});
