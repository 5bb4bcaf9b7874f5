import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Tournament } from './tournament.ts';

test('the best is the first of the largest after any changes', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 1, maxLength: 3000 }),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: -5, max: 5 })), { maxLength: 60 }),
      (numbers, changes) => {
        const tournament = new Tournament(Float64Array.from(numbers));
        const expected = [...numbers];
        for (const [at, value] of changes) {
          expected[at % expected.length] = value;
          tournament.set(at % expected.length, value);
          expect(tournament.best()).toBe(expected.indexOf(Math.max(...expected)));
        }
        expect(tournament.best()).toBe(expected.indexOf(Math.max(...expected)));
      },
    ),
    { numRuns: 60 },
  );
});

test('there is no best of nothing', () => {
  expect(new Tournament(new Float64Array(0)).best()).toBe(-1);
});
