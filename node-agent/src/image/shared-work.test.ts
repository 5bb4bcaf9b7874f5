import { Code } from '@gantry/common';
import { expect, test } from 'vitest';
import { SharedWork } from './shared-work.ts';

const forever = new AbortController().signal;

test('work that many want is done once, and all hear of its progress, late ones of the last', async () => {
  const work = new SharedWork<string, number>();
  const { promise, resolve } = Promise.withResolvers<string>();
  let started = 0;
  const heard: string[] = [];
  const join = (name: string) =>
    work.join('a', { signal: forever, onProgress: (value) => heard.push(`${name} ${value}`) }, ({ report }) => {
      started++;
      setImmediate(() => report(2));
      report(1);
      return promise;
    });
  const first = join('x');
  const second = join('y');
  await new Promise((done) => setImmediate(done));
  await new Promise((done) => setImmediate(done));
  resolve('done');
  expect(await Promise.all([first, second])).toEqual(['done', 'done']);
  expect(started).toBe(1);
  expect(heard).toEqual(['x 1', 'y 1', 'x 2', 'y 2']);
});

test('an abort frees its own caller at once, and ends the work only when nobody is left', async () => {
  const work = new SharedWork<string, number>();
  const [first, second] = [new AbortController(), new AbortController()];
  let inner: AbortSignal | undefined;
  const run = (signal: AbortSignal) =>
    work.join('a', { signal }, (context) => {
      inner = context.signal;
      return new Promise<string>(() => {});
    });
  const [one, two] = [run(first.signal), run(second.signal)];
  first.abort();
  await expect(one).rejects.toMatchObject({ code: Code.cancelled });
  expect(inner!.aborted).toBe(false);
  second.abort();
  await expect(two).rejects.toMatchObject({ code: Code.cancelled });
  expect(inner!.aborted).toBe(true);
});

test('work that failed or was given up starts anew for the next caller', async () => {
  const work = new SharedWork<number, number>();
  let started = 0;
  const run = () =>
    work.join('a', { signal: forever }, async () => {
      if (++started === 1) throw new Error('first');
      return started;
    });
  await expect(run()).rejects.toThrow('first');
  expect(await run()).toBe(2);
  const aborted = new AbortController();
  aborted.abort();
  await expect(work.join('a', { signal: aborted.signal }, async () => 0)).rejects.toMatchObject({ code: Code.cancelled });
});
