import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parsePattern } from './pattern.ts';

const atom = fc.constantFrom('a', 'b', '-', '.', '[ab]', '[^a]', '[a-c-]', String.raw`\d`, String.raw`[\w-]`, String.raw`\.`, '^', '$');
const times = fc.constantFrom('', '', '', '*', '+', '?', '{2}', '{1,}', '{0,2}');
const pattern = fc.letrec<{ any: string }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    fc.tuple(atom, times).map(([one, count]) => (one === '^' || one === '$' ? one : one + count)),
    fc.tuple(tie('any'), tie('any')).map(([left, right]) => left + right),
    fc.tuple(tie('any'), tie('any')).map(([left, right]) => `${left}|${right}`),
    fc.tuple(tie('any'), times).map(([inner, count]) => `(${inner})${count}`),
  ),
})).any;

describe('pattern', () => {
  test('finds what the language itself finds', () => {
    fc.assert(
      fc.property(pattern, fc.string({ unit: fc.constantFrom('a', 'b', 'c', '-', '.', '1', '\n'), maxLength: 8 }), (source, text) => {
        expect(parsePattern(source).matches(text)).toBe(new RegExp(source).test(text));
      }),
      { numRuns: 3000 },
    );
  });

  test('takes linear time where back-tracking would take for ever', () => {
    expect(parsePattern('^(a+)+(a|a)*$').matches(`${'a'.repeat(5000)}!`)).toBe(false);
  });

  test.each([
    String.raw`(a)\1`,
    '(?=a)',
    '(?<n>a)',
    '(a',
    'a)',
    '[a',
    '[z-a]',
    '*a',
    'a**',
    'a{3,1}',
    String.raw`\b`,
    '\\',
    '(((a{99}){99}){99})',
  ])('%s is refused with what must hold', (source) => expect(() => parsePattern(source)).toThrow(/^the pattern must be /));
});
