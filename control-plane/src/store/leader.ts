import { backoffMs, type Clock, Code, GantryError, sleep } from '@gantry/common';
import { Leader } from '@gantry/proto';
import { keys } from './keys.ts';
import type { Comparison, KeyValue, Store, StoreLease } from './store.ts';

/**
 * Time a dead leader's key outlives it. etcd looks for expired leases each half second, so another leads at most
 * 3.5 s after the leader's last keepalive.
 */
const leaderTtlMs = 3000;

const retry = { minMs: 50, maxMs: 1000 };

export interface CampaignOptions {
  store: Store;
  /** Of this control plane. */
  id: string;
  /** Where other parts reach it. */
  address: string;
  clock: Clock;
  /** Spreads retries; 0..1. */
  random?: () => number;
  /** Ends the campaign; a term that runs is resigned at once. */
  signal: AbortSignal;
  /** Told of attempts that failed; the campaign goes on. */
  onError?: (error: GantryError) => void;
}

/** One time of leading. */
export interface Term {
  /** Part of every write of the leader: it fails once another leads, however late it arrives. */
  readonly fence: Comparison;
  /** Aborted when the term is over or must be taken as over. */
  readonly lost: AbortSignal;
}

/** Terms of leading, one after the other, until the signal ends the campaign. Ask for the next when a term is lost. */
export async function* campaign(options: CampaignOptions): AsyncGenerator<Term, void, void> {
  const { clock, signal, random = Math.random, onError } = options;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const held = await elect(options);
      if (!held) return;
      failures = 0;
      yield* lead(options, held);
    } catch (error) {
      if (!signal.aborted) onError?.(GantryError.from(error));
    }
    await sleep(clock, backoffMs(failures++, random(), retry), signal).catch(() => {});
  }
}

interface Held {
  readonly lease: StoreLease;
  readonly createRevision: number;
}

/** Waits until this control plane holds the leader's key; undefined when the campaign ended before. */
async function elect(options: CampaignOptions): Promise<Held | undefined> {
  const { store, signal } = options;
  const lease = await store.lease(leaderTtlMs);
  const waiting = AbortSignal.any([signal, lease.lost]);
  try {
    while (!waiting.aborted) {
      const createRevision = await claim(options, lease);
      if (createRevision !== undefined) return { lease, createRevision };
      await vacant(store, waiting);
    }
  } catch (error) {
    await giveBack(lease);
    throw error;
  }
  await giveBack(lease);
  if (signal.aborted) return undefined;
  throw new GantryError(Code.unavailable, 'cannot wait for leadership: the lease ended');
}

/** Makes the leader's key; undefined when another has it. */
async function claim({ store, id, address, clock }: CampaignOptions, lease: StoreLease): Promise<number | undefined> {
  const key = keys.leader();
  const value = Leader.encode(Leader.create({ id, address, electedAt: clock.nowUs() }));
  try {
    const { succeeded, revision } = await store.transact({
      compare: [{ kind: 'createRevision', key, equals: 0 }],
      writes: [{ kind: 'put', key, value, lease: lease.id }],
    });
    return succeeded ? revision : undefined;
  } catch (error) {
    if (GantryError.from(error).code !== Code.unavailable) throw error;
    // the answer was lost, not necessarily the write: the key says whose it is
    const found: KeyValue | undefined = await store.get(key);
    return found && Buffer.from(found.value).equals(value) ? found.createRevision : undefined;
  }
}

/** Resolves once nobody holds the leader's key, or the signal aborts. */
async function vacant(store: Store, signal: AbortSignal): Promise<void> {
  const key = keys.leader();
  for await (const { snapshot, events } of store.watch({ prefix: key, signal })) {
    const last = events.filter((event) => event.key === key).at(-1);
    if (last ? last.kind === 'delete' : snapshot) return;
  }
}

async function* lead({ store, signal }: CampaignOptions, { lease, createRevision }: Held): AsyncGenerator<Term, void, void> {
  const ended = new AbortController();
  const lost = AbortSignal.any([lease.lost, signal, ended.signal]);
  let resigned: Promise<void> | undefined;
  const resign = () => {
    resigned ??= giveBack(lease);
  };
  signal.addEventListener('abort', resign, { once: true });
  if (signal.aborted) resign();
  void supplanted(store, createRevision, lost).then(
    () => ended.abort(),
    () => ended.abort(),
  );
  try {
    if (!lost.aborted) yield { fence: { kind: 'createRevision', key: keys.leader(), equals: createRevision }, lost };
  } finally {
    ended.abort();
    signal.removeEventListener('abort', resign);
    resign();
    await resigned;
  }
}

/** Resolves when the leader's key is no longer the one made at the revision, or the signal aborts. */
async function supplanted(store: Store, createRevision: number, signal: AbortSignal): Promise<void> {
  const key = keys.leader();
  for await (const { snapshot, events } of store.watch({ prefix: key, signal })) {
    const last = events.filter((event) => event.key === key).at(-1);
    if (!last && snapshot) return;
    if (last && (last.kind === 'delete' || last.createRevision !== createRevision)) return;
  }
}

/** Another can lead at once; when the store does not answer, the lease's time ends it. */
async function giveBack(lease: StoreLease): Promise<void> {
  await lease.revoke().catch(() => {});
}
