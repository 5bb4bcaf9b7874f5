import { Code, GantryError, systemClock } from '@gantry/common';
import { Leader } from '@gantry/proto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { markAndCompact } from './compaction.ts';
import { EtcdStore } from './etcd-store.ts';
import { keys } from './keys.ts';
import { campaign, type Term } from './leader.ts';
import { MemoryStore } from './memory-store.ts';
import type { Store } from './store.ts';
import { startTestEtcd, type TestEtcd } from './testing/etcd.ts';
import { type Relay, startRelay } from './testing/relay.ts';

/** A candidate whose terms a test can await. */
class Candidate {
  readonly id: string;
  readonly errors: GantryError[] = [];
  readonly ended = new AbortController();
  readonly #terms: AsyncGenerator<Term, void, void>;

  constructor(id: string, store: Store) {
    this.id = id;
    const { signal } = this.ended;
    this.#terms = campaign({ store, id, address: `${id}:1`, clock: systemClock, signal, onError: (error) => this.errors.push(error) });
  }

  async term(): Promise<Term> {
    const next = await this.#terms.next();
    if (next.done) throw new Error(`${this.id} ended`);
    return next.value;
  }

  async resign(): Promise<void> {
    this.ended.abort();
    await this.#terms.next();
  }
}

function lost(term: Term): Promise<void> {
  return new Promise((resolve) => {
    if (term.lost.aborted) return resolve();
    term.lost.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function leaderOf(store: Store): Promise<string | undefined> {
  const found = await store.get(keys.leader());
  return found && Leader.decode(found.value).id;
}

const write = (store: Store, term: Term) =>
  store.transact({ compare: [term.fence], writes: [{ kind: 'put', key: '/gantry/v1/x', value: new Uint8Array() }] });

describe('campaign', () => {
  let a: MemoryStore;
  let b: MemoryStore;
  let candidates: Candidate[];

  beforeEach(() => {
    a = new MemoryStore();
    b = a.connect();
    candidates = [new Candidate('a', a), new Candidate('b', b)];
  });
  afterEach(async () => {
    for (const { ended } of candidates) ended.abort();
    await Promise.all([a.close(), b.close()]);
  });

  test('one of two leads; when it resigns the other leads at once and the fence of the first fails', async () => {
    const [first, second] = candidates as [Candidate, Candidate];
    const term = await first.term();
    const waiting = second.term();
    expect(await leaderOf(a)).toBe('a');
    expect((await write(a, term)).succeeded).toBe(true);
    await first.resign();
    const next = await waiting;
    expect(await leaderOf(a)).toBe('b');
    expect((await write(a, term)).succeeded).toBe(false);
    expect((await write(b, next)).succeeded).toBe(true);
  });

  test('a term ends when its lease ends, and the same candidate may lead again with another fence', async () => {
    const [first] = candidates as [Candidate];
    const term = await first.term();
    a.expireLease('1');
    await lost(term);
    const again = await first.term();
    expect(again.fence.equals).toBeGreaterThan(term.fence.equals);
    expect((await write(a, term)).succeeded).toBe(false);
  });

  test('a term ends when its key is taken away though the lease lives', async () => {
    const [first] = candidates as [Candidate];
    const term = await first.term();
    await b.transact({ compare: [], writes: [{ kind: 'delete', key: keys.leader() }] });
    await lost(term);
  });

  test('a lost answer to the claim is read back: it leads if the key is its own', async () => {
    const [first] = candidates as [Candidate];
    a.inject({ call: 'transact', applied: true });
    const term = await first.term();
    expect((await write(a, term)).succeeded).toBe(true);
    expect(first.errors).toEqual([]);
  });

  test('goes on through failures of the store and tells of them', async () => {
    const [first] = candidates as [Candidate];
    a.inject({ call: 'lease' });
    a.inject({ call: 'transact', error: new GantryError(Code.resourceExhausted, 'full') });
    await first.term();
    expect(first.errors.map((error) => error.code)).toEqual([Code.unavailable, Code.resourceExhausted]);
  });

  test('ends without a term when the campaign is called off while another leads', async () => {
    const [first, second] = candidates as [Candidate, Candidate];
    await first.term();
    const waiting = second.term();
    await b.get('any');
    second.ended.abort();
    await expect(waiting).rejects.toThrow('b ended');
  });
});

describe('markAndCompact', () => {
  test('compacts at the marker before the new one, and not for one that no longer leads', async () => {
    const store = new MemoryStore();
    const candidate = new Candidate('a', store);
    const { fence } = await candidate.term();
    const options = { store, clock: systemClock, fence };
    await markAndCompact(options);
    const marker = await store.get(keys.marker());
    await store.transact({ compare: [], writes: [{ kind: 'put', key: '/x', value: new Uint8Array() }] });
    await markAndCompact(options);
    expect(await firstBatch(store, marker!.modRevision - 2)).toBe(true);
    expect(await firstBatch(store, marker!.modRevision - 1)).toBe(false);
    await candidate.resign();
    const before = await store.get(keys.marker());
    await markAndCompact(options);
    expect((await store.get(keys.marker()))?.modRevision).toBe(before?.modRevision);
    await store.close();
  });
});

/** Whether a watch after the revision has to begin with a snapshot. */
async function firstBatch(store: Store, afterRevision: number): Promise<boolean> {
  for await (const batch of store.watch({ prefix: '/', afterRevision, signal: new AbortController().signal })) return batch.snapshot;
  throw new Error('no batch');
}

describe('on etcd', () => {
  let etcd: TestEtcd;
  let relay: Relay;

  beforeAll(async () => {
    etcd = await startTestEtcd();
    relay = await startRelay(etcd.address);
  });
  afterAll(async () => {
    await relay.close();
    await etcd.stop();
  });

  test('a leader that is cut off is followed within 5 s, knows it before, and its late write is refused', async () => {
    const [cut, whole] = [new EtcdStore({ hosts: [relay.address], deadlineMs: 1000 }), new EtcdStore({ hosts: [etcd.address] })];
    const [first, second] = [new Candidate('first', cut), new Candidate('second', whole)];
    const term = await first.term();
    const waiting = second.term();
    relay.setDown(true);
    const start = performance.now();
    const next = await waiting;
    expect(performance.now() - start).toBeLessThan(5000);
    expect(term.lost.aborted).toBe(true);
    relay.setDown(false);
    expect((await write(whole, term)).succeeded).toBe(false);
    expect((await write(whole, next)).succeeded).toBe(true);
    first.ended.abort();
    await second.resign();
    await Promise.all([cut.close(), whole.close()]);
  });
});
