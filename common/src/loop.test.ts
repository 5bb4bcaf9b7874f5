import { expect, test } from 'vitest';
import { ManualClock, sleep, startLoop } from './index.ts';

test('a loop runs at start, once for many events, and at its interval', async () => {
  const clock = new ManualClock();
  let passes = 0;
  const loop = startLoop({
    name: 'test',
    clock,
    intervalMs: 1000,
    debounceMs: 50,
    onError: () => undefined,
    run: async () => {
      passes++;
      return undefined;
    },
  });
  await clock.advance(0);
  expect(passes).toBe(1);
  for (let call = 0; call < 10; call++) loop.trigger();
  await clock.advance(49);
  expect(passes).toBe(1);
  await clock.advance(1);
  expect(passes).toBe(2);
  await clock.advance(1000);
  expect(passes).toBe(3);
  await loop.stop();
  loop.trigger();
  await clock.advance(10_000);
  expect(passes).toBe(3);
});

test('an event during a pass leads to one more pass, never to two at once', async () => {
  const clock = new ManualClock();
  let running = 0;
  let most = 0;
  let passes = 0;
  let release: () => void = () => undefined;
  const loop = startLoop({
    name: 'test',
    clock,
    intervalMs: 0,
    onError: () => undefined,
    run: async () => {
      passes++;
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      running--;
      return undefined;
    },
  });
  await clock.advance(0);
  loop.trigger();
  loop.trigger();
  await clock.advance(10);
  expect(passes).toBe(1);
  release();
  await clock.advance(10);
  expect(passes).toBe(2);
  release();
  await clock.advance(10);
  expect([passes, most]).toEqual([2, 1]);
  await loop.stop();
});

test('a failed pass is told and tried again, later each time', async () => {
  const clock = new ManualClock();
  const at: number[] = [];
  const loop = startLoop({
    name: 'test',
    clock,
    intervalMs: 0,
    retryMs: 100,
    onError: () => undefined,
    run: () => {
      at.push(clock.monotonicMs());
      return Promise.reject(new Error('no'));
    },
  });
  await clock.advance(800);
  expect(at).toEqual([0, 100, 300, 700]);
  await loop.stop();
});

test('a sleep ends at once when its signal aborts, and its timer is gone', async () => {
  const clock = new ManualClock();
  const ended = new AbortController();
  const waiting = sleep(clock, 1000, ended.signal).catch((error: Error) => error.name);
  ended.abort();
  expect(await waiting).toBe('AbortError');
  expect(clock.pending).toBe(0);
});
