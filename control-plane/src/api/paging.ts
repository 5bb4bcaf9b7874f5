import { Code, GantryError } from '@gantry/common';
import type { Page } from '@gantry/proto';

const defaultSize = 100;
const largestSize = 500;

export interface PageOf<T> {
  items: T[];
  /** Empty on the last page. */
  nextToken: string;
}

/**
 * One page of a list that is sorted by its key. The token is the last key shown, so that a list which changes between
 * pages neither repeats nor skips what stays in it.
 * @throws GantryError invalidArgument for a size over 500 or a token that is not ours.
 */
export function pageOf<T>(sorted: Iterable<T>, page: Page | null, keyOf: (item: T) => string): PageOf<T> {
  const size = page?.size || defaultSize;
  if (size > largestSize) throw new GantryError(Code.invalidArgument, `cannot list a page of ${size}: at most ${largestSize}`);
  const after = page?.token ? decodeToken(page.token) : undefined;
  const items: T[] = [];
  for (const item of sorted) {
    if (after !== undefined && keyOf(item) <= after) continue;
    if (items.length === size) return { items, nextToken: encodeToken(keyOf(items.at(-1)!)) };
    items.push(item);
  }
  return { items, nextToken: '' };
}

const mark = 'k:';

function encodeToken(key: string): string {
  return Buffer.from(mark + key).toString('base64url');
}

function decodeToken(token: string): string {
  const text = Buffer.from(token, 'base64url').toString('utf8');
  if (!text.startsWith(mark)) {
    throw new GantryError(Code.invalidArgument, 'cannot go on listing: the page token is not one that was given out', {
      details: { hint: 'start again without a token' },
    });
  }
  return text.slice(mark.length);
}
