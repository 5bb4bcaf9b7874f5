import { Code } from '@gantry/common';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EtcdStore } from './etcd-store.ts';
import { MemoryStore } from './memory-store.ts';
import { checkTransaction, maxTransactionBytes, type Store, type WatchBatch, type Write } from './store.ts';
import { startTestEtcd, type TestEtcd } from './testing/etcd.ts';

const put = (key: string, text: string, lease?: string): Write => ({
  kind: 'put',
  key,
  value: Buffer.from(text),
  ...(lease !== undefined && { lease }),
});
const remove = (key: string): Write => ({ kind: 'delete', key });
const text = (value: Uint8Array | undefined) => value && Buffer.from(value).toString();

/** Reads batches of a watch until the condition holds. */
async function collect(batches: AsyncIterable<WatchBatch>, until: (all: WatchBatch[]) => boolean): Promise<WatchBatch[]> {
  const all: WatchBatch[] = [];
  for await (const batch of batches) {
    all.push(batch);
    if (until(all)) break;
  }
  return all;
}

const eventCount = (all: WatchBatch[]) => all.reduce((sum, batch) => sum + batch.events.length, 0);

describe.each(['memory', 'etcd'] as const)('the store on %s', (kind) => {
  let etcd: TestEtcd | undefined;
  let memory: MemoryStore;
  let store: Store;
  let count = 0;
  let prefix = '';
  const ended = new AbortController();

  beforeAll(async () => {
    if (kind === 'etcd') etcd = await startTestEtcd();
    memory = new MemoryStore();
    store = etcd ? new EtcdStore({ hosts: [etcd.address], pageSize: 3 }) : memory;
  });
  afterAll(async () => {
    ended.abort();
    await store.close();
    await etcd?.stop();
  });
  beforeEach(() => {
    prefix = `/test/${++count}/`;
  });
  const another = (): Store => (etcd ? new EtcdStore({ hosts: [etcd.address] }) : memory.connect());
  const write = (...writes: Write[]) => store.transact({ compare: [], writes });

  test('gets what was put, with the revisions of its making and last change', async () => {
    const first = await write(put(`${prefix}a`, 'one'));
    const second = await write(put(`${prefix}a`, 'two'));
    const found = await store.get(`${prefix}a`);
    expect(text(found?.value)).toBe('two');
    expect(found).toMatchObject({ key: `${prefix}a`, createRevision: first.revision, modRevision: second.revision });
    expect(second.revision).toBe(first.revision + 1);
    expect(await store.get(`${prefix}none`)).toBeUndefined();
  });

  test('lists a prefix in key order over several pages, and nothing beside it', async () => {
    const names = ['e', 'b', 'g', 'a', 'd', 'f', 'c'];
    await write(...names.map((name) => put(`${prefix}${name}`, name)), put(`${prefix.slice(0, -1)}0`, 'beside'));
    const { items, revision } = await store.list(prefix);
    expect(items.map((item) => text(item.value))).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g']);
    expect(revision).toBe(await store.revision());
  });

  test('writes all of a transaction at one revision, or nothing when a comparison fails', async () => {
    const { revision } = await write(put(`${prefix}a`, '1'), put(`${prefix}b`, '1'));
    const refused = await store.transact({
      compare: [
        { kind: 'modRevision', key: `${prefix}a`, equals: revision },
        { kind: 'createRevision', key: `${prefix}c`, equals: revision },
      ],
      writes: [put(`${prefix}a`, '2'), remove(`${prefix}b`)],
    });
    expect(refused.succeeded).toBe(false);
    expect((await store.list(prefix)).items.map((item) => item.modRevision)).toEqual([revision, revision]);
    const taken = await store.transact({
      compare: [
        { kind: 'modRevision', key: `${prefix}a`, equals: revision },
        { kind: 'modRevision', key: `${prefix}c`, equals: 0 },
      ],
      writes: [put(`${prefix}a`, '2'), remove(`${prefix}b`), put(`${prefix}c`, '2')],
    });
    expect(taken.succeeded).toBe(true);
    expect((await store.list(prefix)).items.map((item) => [item.key.slice(prefix.length), item.modRevision])).toEqual([
      ['a', taken.revision],
      ['c', taken.revision],
    ]);
  });

  test('of two that compare the same revision exactly one writes', async () => {
    const key = `${prefix}a`;
    const results = await Promise.all(
      ['x', 'y', 'z'].map((value) => store.transact({ compare: [{ kind: 'createRevision', key, equals: 0 }], writes: [put(key, value)] })),
    );
    expect(results.filter((result) => result.succeeded)).toHaveLength(1);
  });

  test('removing what does not exist makes no revision', async () => {
    const before = await store.revision();
    expect(await write(remove(`${prefix}none`))).toEqual({ succeeded: true, revision: before });
  });

  test('refuses too many writes, a key written twice, too many bytes', async () => {
    const many = Array.from({ length: 121 }, (_, index) => put(`${prefix}${index}`, ''));
    await expect(write(...many)).rejects.toMatchObject({ code: Code.invalidArgument });
    await expect(write(put(`${prefix}a`, '1'), remove(`${prefix}a`))).rejects.toMatchObject({ code: Code.invalidArgument });
    await expect(write(put(`${prefix}a`, 'x'.repeat(maxTransactionBytes + 1)))).rejects.toMatchObject({ code: Code.invalidArgument });
    expect((await store.list(prefix)).items).toEqual([]);
  });

  test('takes as many writes and bytes as it promises', async () => {
    await write(...Array.from({ length: 120 }, (_, index) => put(`${prefix}${index}`, 'x'.repeat(maxTransactionBytes / 120))));
    expect((await store.list(prefix)).items).toHaveLength(120);
  });

  test('a watch begins with the snapshot and goes on with every change in order', async () => {
    await write(put(`${prefix}a`, '1'));
    const other = another();
    const batches = await collect(store.watch({ prefix, signal: ended.signal }), (all) => {
      if (all.length === 1) void change();
      return eventCount(all) === 5;
    });
    async function change(): Promise<void> {
      await other.transact({ compare: [], writes: [put(`${prefix}a`, '2'), put(`${prefix}b`, '1')] });
      await other.transact({ compare: [], writes: [remove(`${prefix}a`)] });
      await other.transact({ compare: [], writes: [put(`${prefix.slice(0, -1)}x`, 'beside')] });
      await other.transact({ compare: [], writes: [put(`${prefix}c`, '1')] });
    }
    await other.close();
    expect(batches.map((batch) => batch.snapshot)).toEqual([true, ...batches.slice(1).map(() => false)]);
    expect(batches.flatMap((batch) => batch.events).map((event) => `${event.kind} ${event.key.slice(prefix.length)}`)).toEqual([
      'put a',
      'put a',
      'put b',
      'delete a',
      'put c',
    ]);
    expect(batches.at(-1)?.revision).toBe(await store.revision());
  });

  test('a watch after a revision has no snapshot and loses nothing after it', async () => {
    const { revision } = await write(put(`${prefix}a`, '1'));
    await write(put(`${prefix}b`, '1'));
    await write(remove(`${prefix}a`));
    const batches = await collect(store.watch({ prefix, afterRevision: revision, signal: ended.signal }), (all) => eventCount(all) === 2);
    expect(
      batches.flatMap((batch) => batch.events).map((event) => [event.kind, event.key.slice(prefix.length), event.modRevision - revision]),
    ).toEqual([
      ['put', 'b', 1],
      ['delete', 'a', 2],
    ]);
    expect(batches.some((batch) => batch.snapshot)).toBe(false);
  });

  test('a watch after a compacted revision begins with a snapshot', async () => {
    const { revision } = await write(put(`${prefix}a`, '1'));
    await write(put(`${prefix}b`, '1'));
    const last = await write(remove(`${prefix}a`));
    const marker = await write(put('/test/marker', ''));
    await store.compact(marker.revision);
    const [batch] = await collect(store.watch({ prefix, afterRevision: revision, signal: ended.signal }), () => true);
    expect(batch?.snapshot).toBe(true);
    expect(batch?.events.map((event) => event.key)).toEqual([`${prefix}b`]);
    expect(batch!.revision).toBeGreaterThanOrEqual(last.revision);
  });

  test('compacting what is compacted already is no failure, the future is', async () => {
    await write(put('/test/marker', '1'));
    const { revision } = await write(put('/test/marker', '2'));
    await store.compact(revision);
    await store.compact(revision - 1);
    await expect(store.compact(revision + 1000)).rejects.toMatchObject({ code: Code.failedPrecondition });
  });

  test('a watch ends when its signal aborts, before and after its snapshot', async () => {
    await write(put(`${prefix}a`, '1'));
    const aborted = new AbortController();
    const seen: WatchBatch[] = [];
    for await (const batch of store.watch({ prefix, signal: aborted.signal })) {
      seen.push(batch);
      aborted.abort();
    }
    expect(seen).toHaveLength(1);
    for await (const batch of store.watch({ prefix, signal: aborted.signal })) seen.push(batch);
    expect(seen).toHaveLength(1);
  });

  test('keys of a lease go when it is given back, and watchers see it', async () => {
    const lease = await store.lease(5000);
    const { revision } = await write(put(`${prefix}a`, '1', lease.id), put(`${prefix}b`, '1'));
    const gone = collect(store.watch({ prefix, afterRevision: revision, signal: ended.signal }), () => true);
    await lease.revoke();
    expect(lease.lost.aborted).toBe(true);
    expect((await gone)[0]?.events).toMatchObject([{ kind: 'delete', key: `${prefix}a` }]);
    expect((await store.list(prefix)).items.map((item) => item.key)).toEqual([`${prefix}b`]);
    await lease.revoke();
  });

  test('a write under a lease that does not exist is refused and changes nothing', async () => {
    await expect(write(put(`${prefix}a`, '1', '4711'))).rejects.toMatchObject({ code: Code.notFound });
    expect(await store.get(`${prefix}a`)).toBeUndefined();
  });

  test('closing gives leases back, ends watches and refuses calls', async () => {
    const other = another();
    const lease = await other.lease(5000);
    await other.transact({ compare: [], writes: [put(`${prefix}a`, '1', lease.id)] });
    const watching = collect(other.watch({ prefix, signal: ended.signal }), () => false);
    await other.close();
    await watching;
    expect(await store.get(`${prefix}a`)).toBeUndefined();
    await expect(other.get(`${prefix}a`)).rejects.toMatchObject({ code: Code.unavailable });
  });
});

test('checkTransaction counts comparisons as well', () => {
  const compare = Array.from({ length: 121 }, (_, index) => ({ kind: 'modRevision', key: String(index), equals: 0 }) as const);
  expect(() => checkTransaction({ compare, writes: [] })).toThrow(/at most 120/);
});
