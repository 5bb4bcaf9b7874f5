import { Code, GantryError } from '@gantry/common';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EtcdStore } from './etcd-store.ts';
import type { StoreEvent, WatchBatch } from './store.ts';
import { startTestEtcd, type TestEtcd } from './testing/etcd.ts';
import { type Relay, startRelay } from './testing/relay.ts';

let etcd: TestEtcd;
let relay: Relay;
/** Through the relay: this is what breaks. */
let store: EtcdStore;
/** Past the relay. */
let writer: EtcdStore;
let ended: AbortController;
let count = 0;
let prefix = '';

beforeAll(async () => {
  etcd = await startTestEtcd();
});
afterAll(() => etcd.stop());
beforeEach(async () => {
  prefix = `/fault/${++count}/`;
  ended = new AbortController();
  relay = await startRelay(etcd.address);
  store = new EtcdStore({ hosts: [relay.address], deadlineMs: 1000 });
  writer = new EtcdStore({ hosts: [etcd.address] });
});
afterEach(async () => {
  ended.abort();
  relay.setDown(false);
  await Promise.all([store.close(), writer.close()]);
  await relay.close();
});

const keyOf = (number: number) => `${prefix}${String(number).padStart(5, '0')}`;

/** One put a transaction, so that each has its revision. */
async function fill(amount: number, bytes: number, from = 0): Promise<void> {
  const value = Buffer.alloc(bytes, 'x');
  for (let start = from; start < from + amount; start += 50) {
    const numbers = Array.from({ length: Math.min(50, from + amount - start) }, (_, index) => start + index);
    await Promise.all(numbers.map((number) => writer.transact({ compare: [], writes: [{ kind: 'put', key: keyOf(number), value }] })));
  }
}

/** Follows a watch: what it showed, and the state that follows from it. */
class Follower {
  readonly state = new Map<string, number>();
  readonly events: StoreEvent[] = [];
  snapshots = 0;
  #waiting: { met: () => boolean; resolve: () => void }[] = [];

  constructor(batches: AsyncIterable<WatchBatch>) {
    void this.#follow(batches);
  }

  until(met: () => boolean): Promise<void> {
    if (met()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ met, resolve }));
  }

  async #follow(batches: AsyncIterable<WatchBatch>): Promise<void> {
    for await (const batch of batches) {
      if (batch.snapshot) {
        this.snapshots++;
        this.state.clear();
      } else this.events.push(...batch.events);
      for (const event of batch.events) {
        if (event.kind === 'put') this.state.set(event.key, event.modRevision);
        else this.state.delete(event.key);
      }
      const [met, rest] = [this.#waiting.filter((one) => one.met()), this.#waiting.filter((one) => !one.met())];
      this.#waiting = rest;
      for (const { resolve } of met) resolve();
    }
  }
}

describe('a watch', () => {
  test('whose connection is cut in the middle of the replay loses nothing and repeats nothing', async () => {
    const revision = await writer.revision();
    await fill(3000, 200);
    // the replay of 3000 keys is about 700 kB: cut it several times on the way
    relay.cutAfter(100_000);
    const follower = new Follower(store.watch({ prefix, afterRevision: revision, signal: ended.signal }));
    for (const seen of [300, 1000, 2000]) {
      await follower.until(() => follower.events.length >= seen);
      relay.cutAfter(30_000);
    }
    await fill(100, 10, 3000);
    await follower.until(() => follower.events.length >= 3100);
    expect(relay.accepted).toBeGreaterThan(2);
    expect(follower.snapshots).toBe(0);
    expect(follower.events.map((event) => event.modRevision - revision)).toEqual(Array.from({ length: 3100 }, (_, index) => index + 1));
  });

  test('that was away while its revisions were compacted shows puts and removals with a new snapshot', async () => {
    await fill(20, 10);
    const follower = new Follower(store.watch({ prefix, signal: ended.signal }));
    await follower.until(() => follower.state.size === 20);
    relay.setDown(true);
    await writer.transact({ compare: [], writes: [{ kind: 'delete', key: keyOf(3) }] });
    await fill(5, 10, 20);
    const marker = await writer.transact({ compare: [], writes: [{ kind: 'put', key: '/fault/marker', value: new Uint8Array() }] });
    await writer.compact(marker.revision);
    relay.setDown(false);
    await follower.until(() => follower.snapshots === 2);
    expect([...follower.state.keys()]).toEqual((await writer.list(prefix)).items.map((item) => item.key));
    expect(follower.state.has(keyOf(3))).toBe(false);
  });

  test('goes on after etcd was killed and came back', async () => {
    await fill(3, 10);
    const follower = new Follower(store.watch({ prefix, signal: ended.signal }));
    await follower.until(() => follower.state.size === 3);
    await etcd.kill();
    await expect(store.get(keyOf(0))).rejects.toMatchObject({ code: Code.unavailable });
    await etcd.start();
    await fill(1, 10, 3);
    await follower.until(() => follower.state.size === 4);
    expect(follower.snapshots).toBe(1);
  });
});

describe('a call', () => {
  test('on a silent connection ends with its deadline and says that the outcome of a write is not known', async () => {
    await store.get(keyOf(0));
    relay.setSilent(true);
    const write = store.transact({ compare: [], writes: [{ kind: 'put', key: keyOf(0), value: new Uint8Array([1]) }] });
    await expect(write).rejects.toMatchObject({ code: Code.unavailable, message: expect.stringContaining('not known') });
    await expect(store.get(keyOf(0))).rejects.toMatchObject({
      code: Code.unavailable,
      message: expect.stringContaining('nothing was changed'),
    });
  });

  test('to a full etcd is RESOURCE_EXHAUSTED with the next step, and reads go on', async () => {
    const small = await startTestEtcd({ quotaBytes: 2 * 1024 * 1024 });
    const full = new EtcdStore({ hosts: [small.address] });
    const fillUp = async () => {
      for (let number = 0; number < 20; number++) {
        await full.transact({ compare: [], writes: [{ kind: 'put', key: keyOf(number), value: Buffer.alloc(500_000) }] });
      }
    };
    await expect(fillUp()).rejects.toMatchObject({ code: Code.resourceExhausted, details: { hint: expect.stringContaining('compact') } });
    expect((await full.get(keyOf(0)))?.value).toHaveLength(500_000);
    await full.close();
    await small.stop();
  });

  test('works again at once after failures in a row', async () => {
    relay.setDown(true);
    for (let attempt = 0; attempt < 5; attempt++) await store.get(keyOf(0)).catch((error: unknown) => GantryError.from(error));
    relay.setDown(false);
    const found = await retried(() => store.get(keyOf(0)));
    expect(found).toBeUndefined();
  });

  test('is not repeated below: a lost answer to a compare-and-set is an error, not a refusal', async () => {
    await store.get(keyOf(0));
    // the answer, not the request, is cut off
    relay.cutAfter(1);
    const write = store.transact({
      compare: [{ kind: 'createRevision', key: keyOf(0), equals: 0 }],
      writes: [{ kind: 'put', key: keyOf(0), value: new Uint8Array([1]) }],
    });
    await expect(write).rejects.toMatchObject({ code: Code.unavailable });
  });
});

describe('a lease', () => {
  test('is lost by our own clock when etcd cannot be reached, before etcd gives its keys up', async () => {
    const lease = await store.lease(2000);
    await writer.transact({ compare: [], writes: [{ kind: 'put', key: keyOf(0), value: new Uint8Array([1]), lease: lease.id }] });
    const gone = new Follower(writer.watch({ prefix, signal: ended.signal }));
    await gone.until(() => gone.state.size === 1);
    relay.setDown(true);
    await aborted(lease.lost);
    expect((await writer.list(prefix)).items).toHaveLength(1);
    await gone.until(() => gone.state.size === 0);
  });

  test('outlives a cut that is shorter than its time, and longer than its time when it is kept', async () => {
    const lease = await store.lease(2000);
    await writer.transact({ compare: [], writes: [{ kind: 'put', key: keyOf(0), value: new Uint8Array([1]), lease: lease.id }] });
    const start = performance.now();
    while (performance.now() - start < 4000) {
      relay.cut();
      await Promise.race([aborted(lease.lost), new Promise((resolve) => setTimeout(resolve, 700))]);
      expect(lease.lost.aborted).toBe(false);
    }
    expect((await writer.list(prefix)).items).toHaveLength(1);
  });

  test('that etcd has revoked is lost with the next keepalive', async () => {
    const lease = await store.lease(4000);
    await revoke(etcd.address, lease.id);
    await aborted(lease.lost);
  });
});

/** Gives a lease back behind its holder's back. */
async function revoke(address: string, id: string): Promise<void> {
  const body = JSON.stringify({ ID: id });
  const response = await fetch(`http://${address}/v3/lease/revoke`, { method: 'POST', body });
  expect(response.status).toBe(200);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Tries until the connection is back; the test's own time-out bounds it. */
async function retried<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch {
      // not back yet
    }
  }
}
