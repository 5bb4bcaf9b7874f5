import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EtcdStore } from './etcd-store.ts';
import { MemoryStore } from './memory-store.ts';
import type { Store, WatchBatch } from './store.ts';
import { startTestEtcd, type TestEtcd } from './testing/etcd.ts';
import { type Relay, startRelay } from './testing/relay.ts';

type Change = { kind: 'put' | 'delete' | 'pair'; key: number };
type Step = Change | { kind: 'cut' | 'compact' | 'settle' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('put', 'delete'), key: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pair'), key: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('cut', 'compact', 'settle') }) },
) as fc.Arbitrary<Step>;

interface World {
  writer: Store;
  /** What the watcher under test uses. */
  watched: Store;
  cut: () => void;
}

/** Runs the steps and follows the watch; then the promises of a watch are checked against the store itself. */
async function check(world: World, prefix: string, steps: readonly Step[]): Promise<void> {
  const { writer, watched, cut } = world;
  const ended = new AbortController();
  const state = new Map<string, number>();
  const seen: number[] = [];
  let revision = 0;
  let snapshots = 0;
  let snapshotRevision = 0;
  let wake = () => {};
  const accept = (batch: WatchBatch) => {
    if (batch.snapshot) {
      snapshots++;
      snapshotRevision = batch.revision;
      state.clear();
    }
    for (const event of batch.events) {
      // safety: nothing is told twice, nothing out of order
      if (!batch.snapshot) expect(event.modRevision).toBeGreaterThan(revision);
      if (!batch.snapshot) seen.push(event.modRevision);
      if (event.kind === 'put') state.set(event.key, event.modRevision);
      else state.delete(event.key);
    }
    expect(batch.revision).toBeGreaterThanOrEqual(revision);
    revision = batch.revision;
    wake();
  };
  const following = (async () => {
    for await (const batch of watched.watch({ prefix, signal: ended.signal })) accept(batch);
  })();
  const caughtUp = async (target: number) => {
    for (;;) {
      if (revision >= target) return;
      await Promise.race([following, new Promise<void>((resolve) => (wake = resolve))]);
    }
  };
  const present = new Set<number>();
  const written: number[] = [];
  let last = 0;
  for (const one of steps) {
    if (!('key' in one)) {
      if (one.kind === 'cut') cut();
      else if (one.kind === 'compact') await writer.compact(await mark(writer));
      else await caughtUp(last);
    } else {
      const result = await writer.transact({ compare: [], writes: writesOf(prefix, one) });
      // removing what is not there makes no revision
      if (one.kind === 'delete' && !present.delete(one.key)) continue;
      if (one.kind !== 'delete') present.add(one.key);
      if (one.kind === 'pair') present.delete(one.key + 1);
      last = result.revision;
      written.push(last);
    }
  }
  last = (await writer.transact({ compare: [], writes: [{ kind: 'put', key: `${prefix}end`, value: new Uint8Array() }] })).revision;
  await caughtUp(last);
  ended.abort();
  await following;
  // liveness: the picture is the store's
  const { items } = await writer.list(prefix);
  expect(state).toEqual(new Map(items.map((item) => [item.key, item.modRevision])));
  // without a new snapshot every change after the first one was told
  if (snapshots === 1) expect([...new Set(seen)]).toEqual([...written, last].filter((one) => one > snapshotRevision));
}

function writesOf(prefix: string, one: Change) {
  const key = `${prefix}${one.key}`;
  if (one.kind === 'delete') return [{ kind: 'delete' as const, key }];
  const put = { kind: 'put' as const, key, value: new Uint8Array([one.key]) };
  return one.kind === 'pair' ? [put, { kind: 'delete' as const, key: `${prefix}${one.key + 1}` }] : [put];
}

/** The compaction revision is a put, as the leader does it. */
async function mark(store: Store): Promise<number> {
  return (await store.transact({ compare: [], writes: [{ kind: 'put', key: '/property-marker', value: new Uint8Array() }] })).revision;
}

const steps = fc.array(step, { minLength: 1, maxLength: 40 });

test('a watch of the memory store keeps its promises under any sequence of changes and compactions', async () => {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const writer = new MemoryStore();
      const world = { writer, watched: writer.connect(), cut: () => {} };
      await check(world, `/${++run}/`, all);
    }),
    { numRuns: 300 },
  );
});

describe('on etcd', () => {
  let etcd: TestEtcd;
  let relay: Relay;
  let writer: EtcdStore;
  let watched: EtcdStore;

  beforeAll(async () => {
    etcd = await startTestEtcd();
    relay = await startRelay(etcd.address);
    writer = new EtcdStore({ hosts: [etcd.address] });
    watched = new EtcdStore({ hosts: [relay.address], pageSize: 2 });
  });
  afterAll(async () => {
    await Promise.all([writer.close(), watched.close()]);
    await relay.close();
    await etcd.stop();
  });

  test('a watch keeps its promises under any sequence of changes, cuts and compactions', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(steps, (all) => check({ writer, watched, cut: () => relay.cut() }, `/${++run}/`, all)),
      { numRuns: 25, interruptAfterTimeLimit: 15_000 },
    );
  });
});
