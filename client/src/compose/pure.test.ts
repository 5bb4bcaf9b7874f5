// biome-ignore-all lint/suspicious/noTemplateCurlyInString: variables as manifests write them
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { badManifests } from './bad-manifests.ts';
import { examineCompose } from './compose.ts';
import { parseEnvFile } from './environment.ts';
import { interpolate } from './interpolate.ts';
import { closest } from './suggest.ts';
import { splitWords } from './words.ts';

const options = { file: 'c', environment: {}, readFile: () => Buffer.from('') };

test('words that are quoted for a shell come back as they were', () => {
  const quote = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
  fc.assert(
    fc.property(fc.array(fc.string()), (words) => {
      expect(splitWords(words.map(quote).join(' '))).toEqual(words);
    }),
  );
});

test('words keep backslashes between double quotes but for the special ones', () => {
  expect(splitWords(String.raw`"a\nb" "c\"d" e\ f`)).toEqual([String.raw`a\nb`, 'c"d', 'e f']);
  expect(() => splitWords('a\\')).toThrow('must not end with a backslash');
});

test('text whose dollars are doubled comes back as it was, whatever is set', () => {
  fc.assert(
    fc.property(fc.string(), fc.dictionary(fc.string(), fc.string()), (text, variables) => {
      expect(interpolate(text.replaceAll('$', '$$$$'), variables)).toBe(text);
    }),
  );
});

test('variables that every object has are not set', () => {
  expect(interpolate('${constructor:-none}${__proto__:-none}', {})).toBe('nonenone');
});

test('variables cannot be nested without end, nor grow without bound', () => {
  const nested = `${'${A:-'.repeat(20)}x${'}'.repeat(20)}`;
  expect(() => interpolate(nested, {})).toThrow('at most 8 deep');
  expect(() => interpolate('$A'.repeat(1000), { A: 'x'.repeat(10_000) })).toThrow('below 1 MiB');
});

test('an env file keeps quotes, comments and variables apart', () => {
  const content = '# one\n\nA=plain # said\nB="two # words\\n"\nC=\'$A\'\nD=${A}-${X:-y}\nexport E=\r\nF=a#b\n';
  expect(parseEnvFile(content, {})).toEqual({ A: 'plain', B: 'two # words\n', C: '$A', D: 'plain-y', E: '', F: 'a#b' });
  expect(() => parseEnvFile('A="open\n', {})).toThrow('line 1: must close its quote');
  expect(() => parseEnvFile('A=1\nB=$\n', {})).toThrow('line 2');
});

test('a word is corrected when it is near a known one, and not else', () => {
  expect(closest('enviroment', ['environment', 'entrypoint'])).toBe('environment');
  expect(closest('protocl', ['protocol', 'published'])).toBe('protocol');
  expect(closest('xyz', ['environment', 'entrypoint'])).toBeUndefined();
});

test('no text makes the reader throw; every error has its place in it', () => {
  const pieces = fc.constantFrom(...badManifests.map(([, manifest]) => manifest).filter((manifest) => manifest.length < 2000));
  const spoilt = fc
    .tuple(pieces, fc.nat(2000), fc.nat(20), fc.string())
    .map(([text, at, length, extra]) => text.slice(0, at) + extra + text.slice(at + length));
  fc.assert(
    fc.property(fc.oneof(fc.string(), spoilt), (text) => {
      const { app, errors } = examineCompose(text, options);
      expect(app === undefined).toBe(errors.length > 0);
      const lines = text.split(/\n/).length;
      for (const { details } of errors) {
        expect(details.line).toBeGreaterThanOrEqual(1);
        expect(details.line).toBeLessThanOrEqual(lines);
        expect(details.column).toBeGreaterThanOrEqual(1);
      }
    }),
    { numRuns: 500 },
  );
});
