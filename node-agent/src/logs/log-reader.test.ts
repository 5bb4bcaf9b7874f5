import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@gantry/common';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseLine, parseTime } from './log-line.ts';
import { type ReadLogOptions, readLog } from './log-reader.ts';
import { LogRemains } from './remains.ts';

let root: string;
let folder: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'gantry-agent-logs-'));
  folder = join(root, 'containers/a/state');
  mkdirSync(folder, { recursive: true });
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

const startUs = Date.parse('2026-11-23T23:00:00Z') * 1000;

/** Line `n`, n seconds after the start. */
function line(n: number, tag = 'F', text = `line ${n}`): string {
  return `${new Date(startUs / 1000 + n * 1000).toISOString().replace('Z', '000000Z')} stdout ${tag} ${text}\n`;
}

function lines(from: number, to: number): string {
  return Array.from({ length: to - from + 1 }, (_, index) => line(from + index)).join('');
}

function options(changes: Partial<ReadLogOptions> = {}): ReadLogOptions {
  const signal = new AbortController().signal;
  return { folder: () => folder, follow: false, since: 0, until: 0, tail: 0, ended: () => true, signal, ...changes };
}

async function texts(changes: Partial<ReadLogOptions> = {}): Promise<string[]> {
  const all: string[] = [];
  for await (const batch of readLog(options(changes))) all.push(...batch.map(({ text }) => text.toString()));
  return all;
}

function range(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, index) => `line ${from + index}`);
}

function threeFiles(): void {
  writeFileSync(join(folder, 'log.2'), lines(1, 10));
  writeFileSync(join(folder, 'log.1'), lines(11, 20));
  writeFileSync(join(folder, 'log'), lines(21, 25));
}

test('rotated files are read in order', async () => {
  threeFiles();
  expect(await texts()).toEqual(range(1, 25));
});

test.each([1, 4, 5, 6, 15, 16, 24, 25, 26, 1000])('the last %i lines', async (tail) => {
  threeFiles();
  expect(await texts({ tail })).toEqual(range(Math.max(1, 26 - tail), 25));
});

test('the last lines of a file longer than one read', async () => {
  writeFileSync(join(folder, 'log'), lines(1, 5000));
  expect(await texts({ tail: 3000 })).toEqual(range(2001, 5000));
});

test('since and until bound the time, both included', async () => {
  threeFiles();
  expect(await texts({ since: startUs + 9e6, until: startUs + 12e6 })).toEqual(range(9, 12));
});

test('what the monitor split is joined, by stream', async () => {
  const errors = line(2, 'F', 'other').replace('stdout', 'stderr');
  writeFileSync(join(folder, 'log'), line(1, 'P', 'one ') + errors + line(3, 'P', 'two ') + line(4, 'F', 'three'));
  expect(await texts()).toEqual(['other', 'one two three']);
});

test('lines that are cut short or garbled are left out', async () => {
  writeFileSync(join(folder, 'log'), `${line(1)}garbage\n\n\0\0\0\n2026 stdout F x\n${line(2)}${line(3).slice(0, 20)}`);
  expect(await texts()).toEqual(['line 1', 'line 2']);
});

test('a log without any file or folder is empty', async () => {
  expect(await texts()).toEqual([]);
  expect(await texts({ folder: () => undefined })).toEqual([]);
});

/** Collects while the test goes on writing; `until(n)` resolves when n lines were read. */
function follow(changes: Partial<ReadLogOptions> = {}) {
  const seen: string[] = [];
  const waiters: { count: number; resolve: () => void }[] = [];
  let ended = false;
  const stop = new AbortController();
  const done = (async () => {
    for await (const batch of readLog(options({ follow: true, ended: () => ended, signal: stop.signal, ...changes }))) {
      seen.push(...batch.map(({ text }) => text.toString()));
      for (const waiter of waiters) if (seen.length >= waiter.count) waiter.resolve();
    }
  })();
  return {
    seen,
    done,
    until: (count: number) => new Promise<void>((resolve) => (seen.length >= count ? resolve() : waiters.push({ count, resolve }))),
    end: () => {
      ended = true;
    },
    abort: () => stop.abort(),
  };
}

test('following goes on through rotations and misses nothing', async () => {
  writeFileSync(join(folder, 'log'), lines(1, 3));
  const reader = follow();
  await reader.until(3);
  appendFileSync(join(folder, 'log'), lines(4, 5));
  renameSync(join(folder, 'log'), join(folder, 'log.1'));
  writeFileSync(join(folder, 'log'), lines(6, 7));
  await reader.until(7);
  // twice in a row, so that one file was never "log" while it was looked at
  renameSync(join(folder, 'log.1'), join(folder, 'log.2'));
  renameSync(join(folder, 'log'), join(folder, 'log.1'));
  writeFileSync(join(folder, 'log'), lines(8, 8));
  await reader.until(8);
  reader.end();
  appendFileSync(join(folder, 'log'), lines(9, 9));
  await reader.done;
  expect(reader.seen).toEqual(range(1, 9));
});

test('following ends with the container, after its last line', async () => {
  writeFileSync(join(folder, 'log'), lines(1, 1));
  const reader = follow();
  await reader.until(1);
  appendFileSync(join(folder, 'log'), lines(2, 2));
  reader.end();
  appendFileSync(join(folder, 'log'), lines(3, 3));
  await reader.done;
  expect(reader.seen).toEqual(range(1, 3));
});

test('following ends at once when nobody listens any more', async () => {
  const reader = follow();
  reader.abort();
  await reader.done;
  expect(reader.seen).toEqual([]);
});

test('following begins before the first line is there, and lives through the removal of the container', async () => {
  const remains = new LogRemains({ folders: { dataDir: root, runDir: join(root, 'run') }, log: silentLogger() });
  const reader = follow({ folder: () => remains.folderOf('a') });
  writeFileSync(join(folder, 'log'), lines(1, 2));
  await reader.until(2);
  appendFileSync(join(folder, 'log'), lines(3, 3));
  await remains.keep('a');
  reader.end();
  await reader.done;
  expect(reader.seen).toEqual(range(1, 3));
  expect(await texts({ folder: () => remains.folderOf('a') })).toEqual(range(1, 3));
});

test('logs of removed containers go when they are old or too many', async () => {
  const remains = new LogRemains({
    folders: { dataDir: root, runDir: join(root, 'run') },
    log: silentLogger(),
    keepMs: 1000,
    keepCount: 2,
  });
  for (const id of ['a', 'b', 'c']) {
    mkdirSync(join(root, `containers/${id}/state`), { recursive: true });
    await remains.keep(id);
  }
  await remains.prune(Date.now());
  const kept = ['a', 'b', 'c'].filter((id) => remains.folderOf(id) !== undefined);
  expect(kept).toHaveLength(2);
  await remains.prune(Date.now() + 2000);
  expect(['a', 'b', 'c'].filter((id) => remains.folderOf(id) !== undefined)).toEqual([]);
});

test('any microsecond is read as it was written', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4e9 }), fc.nat(999_999), (seconds, micros) => {
      const text = `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${String(micros).padStart(6, '0')}123Z`;
      expect(parseTime(text)).toBe(seconds * 1e6 + micros);
    }),
  );
});

test('no bytes make the parser fail', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      parseLine(Buffer.from(bytes));
    }),
  );
});
