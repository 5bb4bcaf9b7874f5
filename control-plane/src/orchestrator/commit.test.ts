import { Code, GantryError } from '@gantry/common';
import { beforeEach, describe, expect, test } from 'vitest';
import { keys } from '../store/keys.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { Comparison, Store, Transaction, TransactionResult } from '../store/store.ts';
import { Committer, pack, type Unit } from './commit.ts';

let memory: MemoryStore;
let fence: Comparison;

beforeEach(async () => {
  memory = new MemoryStore();
  await memory.transact({ compare: [], writes: [{ kind: 'put', key: keys.leader(), value: new Uint8Array(0) }] });
  fence = { kind: 'createRevision', key: keys.leader(), equals: (await memory.get(keys.leader()))!.createRevision };
});

function unit(key: string, init: Partial<Unit> = {}): Unit {
  return { service: 's', writes: [{ kind: 'put', key, value: new Uint8Array(10) }], compare: [], places: [], ...init };
}

/** Fails the next transaction like a connection that breaks, and keeps it to be delivered later. */
class SlowStore {
  late: Transaction | undefined;
  hold = false;

  transact(transaction: Transaction): Promise<TransactionResult> {
    if (!this.hold) return memory.transact(transaction);
    this.hold = false;
    this.late = transaction;
    return Promise.reject(new GantryError(Code.unavailable, 'the connection broke'));
  }

  asStore(): Store {
    return Object.assign(Object.create(memory) as Store, {
      transact: (transaction: Transaction) => this.transact(transaction),
      get: (key: string) => memory.get(key),
    });
  }
}

describe('committer', () => {
  test('a transaction that was given up cannot land once the outcome is settled', async () => {
    const slow = new SlowStore();
    const committer = new Committer(slow.asStore(), fence);
    slow.hold = true;
    const outcome = await committer.commit([unit('/a')]);
    expect(outcome.unknown).toHaveLength(1);
    await committer.settle();
    expect((await memory.transact(slow.late!)).succeeded).toBe(false);
    expect(await memory.get('/a')).toBeUndefined();
    expect((await committer.commit([unit('/b')])).refused).toEqual([]);
    expect(await memory.get('/b')).toBeDefined();
  });

  test('settling fails when another leads', async () => {
    const committer = new Committer(memory, fence);
    await memory.transact({ compare: [], writes: [{ kind: 'delete', key: keys.leader() }] });
    await expect(committer.settle()).rejects.toThrow(/must lead/);
    expect((await committer.commit([unit('/a')])).refused).toHaveLength(1);
  });

  test('a unit that is planned on something changed is refused with its chunk, others are written', async () => {
    const committer = new Committer(memory, fence);
    const stale = unit('/stale', { compare: [{ kind: 'modRevision', key: '/other', equals: 5 }] });
    const many = Array.from({ length: 130 }, (_, index) => unit(`/many/${index}`));
    const outcome = await committer.commit([...many, stale]);
    expect(outcome.refused.some(({ writes }) => writes[0]!.key === '/stale')).toBe(true);
    expect((await memory.list('/many/')).items.length).toBe(130 - (outcome.refused.length - 1));
    expect((await memory.list('/many/')).items.length).toBeGreaterThanOrEqual(100);
  });
});

describe('pack', () => {
  test('stays within writes, comparisons and bytes of a transaction, keeps order and units whole', () => {
    const compare = (key: string): Comparison => ({ kind: 'modRevision', key, equals: 1 });
    const units = [
      ...Array.from({ length: 300 }, (_, index) => unit(`/a${index}`, { compare: [compare('/same')] })),
      ...Array.from({ length: 300 }, (_, index) => unit(`/b${index}`, { compare: [compare(`/b${index}`)] })),
      ...Array.from({ length: 5 }, (_, index) =>
        unit(`/c${index}`, { writes: [{ kind: 'put', key: `/c${index}`, value: new Uint8Array(400_000) }] }),
      ),
    ];
    const chunks = pack(units);
    for (const chunk of chunks) {
      expect(chunk.writes.size).toBeLessThanOrEqual(120);
      expect(chunk.compare.size + 2).toBeLessThanOrEqual(120);
      expect(chunk.bytes).toBeLessThanOrEqual(1_000_000);
    }
    expect(chunks.flatMap((chunk) => chunk.units)).toEqual(units);
    expect(chunks.length).toBeLessThan(10);
  });
});
