import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@gantry/common';
import { Assignments } from '@gantry/proto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DesiredStore, decodeSnapshot } from './desired.ts';
import { anAssignment } from './reconcile/fake-node.ts';

let dataDir: string;

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'gantry-agent-desired-'));
});

afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

test('whatever is accepted, at whatever moment, gets to the disk', async () => {
  const durable: number[] = [];
  const store = new DesiredStore({ dataDir, log: silentLogger(), onDurable: (revision) => durable.push(revision) });
  for (let revision = 1; revision <= 100; revision++) {
    store.accept(Assignments.create({ revision, upserts: [anAssignment(`c${revision}`)] }));
    // at every distance from the end of a write
    for (let turn = 0; turn < revision % 7; turn++) await Promise.resolve();
    if (revision % 3 === 0) await store.flush();
  }
  await store.flush();
  expect(store.durableRevision).toBe(100);
  expect(durable.at(-1)).toBe(100);
  expect(durable).toEqual([...durable].sort((a, b) => a - b));
  expect(decodeSnapshot(readFileSync(join(dataDir, 'assignments')))?.upserts).toHaveLength(100);
});

test('what is accepted as a write ends begins another one', async () => {
  let accepted = 0;
  const store: DesiredStore = new DesiredStore({
    dataDir,
    log: silentLogger(),
    onDurable: (revision) => {
      // some turns after the write's last look at what is new
      let turn = Promise.resolve();
      for (let count = 0; count < revision % 5; count++) turn = turn.then(() => {});
      void turn.then(() => {
        accepted = revision + 1;
        if (accepted <= 50) store.accept(Assignments.create({ revision: accepted }));
      });
    },
  });
  store.accept(Assignments.create({ revision: 1, snapshot: true }));
  await expect.poll(() => store.durableRevision, { timeout: 10_000 }).toBe(50);
});

test('a snapshot replaces everything, changes only what they name', () => {
  const store = new DesiredStore({ dataDir, log: silentLogger(), onDurable: () => {} });
  store.accept(Assignments.create({ revision: 1, upserts: [anAssignment('a'), anAssignment('b')] }));
  expect(store.whole).toBe(false);
  store.accept(Assignments.create({ revision: 2, upserts: [anAssignment('c')], removals: ['a'] }));
  expect([...store.assignments.keys()]).toEqual(['b', 'c']);
  store.accept(Assignments.create({ revision: 3, snapshot: true, upserts: [anAssignment('d')] }));
  expect([...store.assignments.keys()]).toEqual(['d']);
  expect(store.whole).toBe(true);
});
