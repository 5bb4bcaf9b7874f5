import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatBytes, formatCpu, formatDuration, formatRate, parseBytes, parseCpu, parseDuration, parseRate } from './index.ts';

test.each([
  ['64Mi', 64 * 2 ** 20],
  ['64m', 64 * 2 ** 20],
  ['1.5g', 1.5 * 2 ** 30],
  ['512kb', 512 * 1024],
  ['1024', 1024],
  ['7b', 7],
])('size %s', (text, bytes) => expect(parseBytes(text)).toBe(bytes));

test.each([
  ['10MB/s', 10e6],
  ['10mb', 10e6],
  ['1Mi/s', 2 ** 20],
  ['80Mbit/s', 10e6],
  ['80Mbit', 10e6],
  ['5kbps', 5e3],
  ['1048576', 1048576],
])('rate %s', (text, rate) => expect(parseRate(text)).toBe(rate));

test.each([
  ['250m', 250],
  ['0.5', 500],
  ['2', 2000],
])('cpu %s', (text, millis) => expect(parseCpu(text)).toBe(millis));

test.each([
  ['1m30s', 90e6],
  ['500ms', 5e5],
  ['2h', 7.2e9],
  ['0', 0],
])('duration %s', (text, us) => expect(parseDuration(text)).toBe(us));

test.each([
  [parseBytes, '-1'],
  [parseBytes, '1x'],
  [parseBytes, ''],
  [parseBytes, '9007199254740993p'],
  [parseRate, '10 apples'],
  [parseCpu, '1e3'],
  [parseCpu, 'NaN'],
  [parseDuration, '5'],
  [parseDuration, ''],
  [parseDuration, '1s!'],
])('%o refuses %s', (parse, text) => expect(() => parse(text)).toThrow(/cannot read/));

test('what is formatted reads back within the digits shown', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 50 }), (value) => {
      expect(Math.abs(parseBytes(formatBytes(value).replace(/B$/, '')) - value)).toBeLessThanOrEqual(value * 0.06);
      expect(Math.abs(parseRate(formatRate(value).replace(/(\d)B/, '$1')) - value)).toBeLessThanOrEqual(value * 0.06);
    }),
  );
});

test('cpu and durations are short', () => {
  expect([formatCpu(250), formatCpu(2000), formatCpu(12_340)]).toEqual(['250m', '2', '12.3']);
  expect([formatDuration(41e6), formatDuration(300e6), formatDuration(3 * 3600e6), formatDuration(72 * 3600e6)]).toEqual([
    '41s',
    '5m',
    '3h',
    '3d',
  ]);
});
