import { ManualClock } from '@gantry/common';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Merge } from './merge.ts';

interface Item {
  at: number;
  from: string;
}

async function* of(name: string, times: readonly number[]): AsyncGenerator<Item, void, void> {
  for (const at of times) yield { at, from: name };
}

function merge(patienceMs?: number, clock = new ManualClock(), signal = new AbortController().signal): Merge<Item> {
  return new Merge<Item>({
    clock,
    signal,
    timeOf: ({ at }) => at,
    ...(patienceMs !== undefined && { patienceMs }),
    onFailure: (name) => ({ at: Number.MAX_SAFE_INTEGER, from: `${name} failed` }),
  });
}

test('sources that are in order come out in order, none lost, whatever their lengths', async () => {
  const times = fc.array(fc.nat(1000)).map((list) => list.sort((a, b) => a - b));
  await fc.assert(
    fc.asyncProperty(fc.array(times, { maxLength: 6 }), async (sources) => {
      const merged = merge();
      for (const [index, list] of sources.entries()) merged.add({ name: String(index), items: of(String(index), list) });
      merged.close();
      const seen: Item[] = [];
      for await (const item of merged) seen.push(item);
      expect(seen.map(({ at }) => at)).toEqual(sources.flat().sort((a, b) => a - b));
      for (const [index, list] of sources.entries())
        expect(seen.filter(({ from }) => from === String(index)).map(({ at }) => at)).toEqual(list);
    }),
  );
});

test('a source that is silent holds the others up no longer than the patience', async () => {
  const clock = new ManualClock();
  const merged = merge(200, clock);
  merged.add({ name: 'loud', items: of('loud', [5]) });
  merged.add({ name: 'silent', items: { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) } });
  let seen: Item | undefined;
  const reading = merged[Symbol.asyncIterator]()
    .next()
    .then(({ value }) => {
      seen = value as Item;
    });
  await clock.advance(199);
  expect(seen).toBeUndefined();
  await clock.advance(1);
  await reading;
  expect(seen).toEqual({ at: 5, from: 'loud' });
});

test('a source that breaks is shown and does not end the others', async () => {
  const merged = merge();
  merged.add({ name: 'good', items: of('good', [1, 2]) });
  merged.add({
    name: 'bad',
    items: {
      [Symbol.asyncIterator]: () => ({
        next: (() => {
          let calls = 0;
          return () => (calls++ === 0 ? Promise.reject(new Error('x')) : Promise.resolve({ done: true as const, value: undefined }));
        })(),
      }),
    },
  });
  merged.close();
  const seen: string[] = [];
  for await (const { from } of merged) seen.push(from);
  expect(seen).toEqual(['good', 'good', 'bad failed']);
});

test('the signal ends it while it waits', async () => {
  const ended = new AbortController();
  const merged = merge(undefined, new ManualClock(), ended.signal);
  const reading = merged[Symbol.asyncIterator]().next();
  ended.abort();
  expect((await reading).done).toBe(true);
});
