import { expect, test } from 'vitest';
import { AsyncQueue, backoffMs, errorText, GantryError, isName, option, optionsHelp, readOptions } from './index.ts';

const table = {
  dataDir: option({ parse: String, default: '/var/lib/gantry', help: 'Where state lies.', value: 'DIR' }),
  port: option({
    parse: (text) => {
      if (!/^\d+$/.test(text)) throw new Error('must be a number');
      return Number(text);
    },
    default: 7400,
    help: 'Port.',
    value: 'N',
  }),
};
const read = (args: string[], env = {}) => readOptions({ table, prefix: 'GANTRY', args, env });

test('a flag wins over a variable, a variable over the default', () => {
  expect(read([])).toEqual({ dataDir: '/var/lib/gantry', port: 7400 });
  expect(read([], { GANTRY_DATA_DIR: '/a', GANTRY_PORT: '1' })).toEqual({ dataDir: '/a', port: 1 });
  expect(read(['--data-dir', '/b', '--port=2'], { GANTRY_DATA_DIR: '/a' })).toEqual({ dataDir: '/b', port: 2 });
});

test.each([[['--nope', 'x']], [['--port', 'many']], [['--port']]])('%j is refused', (args) =>
  expect(() => read(args)).toThrow(GantryError),
);

test('help lists every option with its variable and default', () => {
  expect(optionsHelp(table, 'GANTRY')).toMatch(
    /--data-dir DIR +Where state lies\. \[GANTRY_DATA_DIR, default \/var\/lib\/gantry\]\n +--port N/,
  );
});

test('an error keeps its place and hint in one line', () => {
  const error = new GantryError(3, 'cannot read "x"', { details: { file: 'a.yaml', line: 3, column: 7, hint: 'remove it' } });
  expect(errorText(error)).toBe('a.yaml:3:7: cannot read "x" (remove it)');
  expect(GantryError.from(error)).toBe(error);
  expect(GantryError.from('text')).toMatchObject({ code: 13, message: 'text' });
});

test('a queue hands over in order, ends after what is queued, and is bounded', async () => {
  const queue = new AsyncQueue<number>(2);
  queue.push(1);
  queue.push(2);
  expect(() => queue.push(3)).toThrow(/at most 2/);
  queue.end();
  const seen: number[] = [];
  for await (const item of queue) seen.push(item);
  expect(seen).toEqual([1, 2]);
});

test('back-off doubles, stops at its most, and jitter only shortens it', () => {
  const options = { minMs: 100, maxMs: 1000, jitter: 0.5 };
  expect([0, 1, 2, 9].map((attempt) => backoffMs(attempt, 1, options))).toEqual([100, 200, 400, 1000]);
  expect(backoffMs(9, 0, options)).toBe(500);
});

test.each([
  ['web', true],
  ['a', true],
  ['a-b', true],
  ['-a', false],
  ['a-', false],
  ['A', false],
  ['', false],
  ['a'.repeat(63), true],
  ['a'.repeat(64), false],
])('name %s: %s', (name, valid) => expect(isName(name)).toBe(valid));
