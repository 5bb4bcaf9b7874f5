import { Page } from '@gantry/proto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pageOf } from './paging.ts';

test('pages together are the whole list, each at most as long as asked for', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string()), fc.integer({ min: 1, max: 7 }), (keys, size) => {
      const sorted = keys.toSorted((a, b) => (a < b ? -1 : 1));
      const seen: string[] = [];
      let token = '';
      do {
        const page = pageOf(sorted, Page.create({ size, token }), (key) => key);
        expect(page.items.length).toBeLessThanOrEqual(size);
        seen.push(...page.items);
        token = page.nextToken;
      } while (token);
      expect(seen).toEqual(sorted);
    }),
  );
});

test('an item removed between two pages hides no other', () => {
  const first = pageOf(['a', 'b', 'c', 'd'], Page.create({ size: 2 }), (key) => key);
  const second = pageOf(['a', 'c', 'd'], Page.create({ size: 2, token: first.nextToken }), (key) => key);
  expect(second.items).toEqual(['c', 'd']);
});

test('a strange token and an oversized page are refused', () => {
  expect(() => pageOf([], Page.create({ token: 'xyz' }), String)).toThrow(/page token/);
  expect(() => pageOf([], Page.create({ size: 501 }), String)).toThrow(/at most 500/);
});
