import { type Clock, Code, GantryError } from '@gantry/common';
import { LRUCache } from 'lru-cache';
import type { Identity } from '../security/authn.ts';
import { nameOf } from './access.ts';
import { requireRequestId } from './checks.ts';

const rememberedCalls = 2000;
const rememberedMs = 600_000;
const watchesEach = 100;
/** Mutations a second that an identity may sustain, and how many at once. */
const sustainedEach = 100;
const burstEach = 500;

interface Bucket {
  tokens: number;
  atMs: number;
}

/** What one control plane remembers of calls: answers by idempotency key, how many watches and mutations each caller has. */
export class CallGuard {
  readonly #clock: Clock;
  readonly #answers = new LRUCache<string, Promise<unknown>>({ max: rememberedCalls, ttl: rememberedMs });
  readonly #buckets = new LRUCache<string, Bucket>({ max: 10_000 });
  readonly #watches = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Runs a mutation once for its idempotency key: the same call again, also while it runs, gets the same answer.
   * A call that failed is run again.
   */
  async once<T>(identity: Identity, path: string, requestId: string, run: () => Promise<T>): Promise<T> {
    requireRequestId(requestId);
    const caller = callerOf(identity);
    const key = `${caller} ${path} ${requestId}`;
    const known = requestId === '' ? undefined : (this.#answers.get(key) as Promise<T> | undefined);
    if (known) return known;
    this.#take(caller);
    const answer = run();
    if (requestId === '') return answer;
    this.#answers.set(key, answer);
    answer.catch(() => this.#answers.delete(key));
    return answer;
  }

  /** Counts a watch while it is read. @throws GantryError resourceExhausted above 100 of one caller. */
  async *watching<T>(identity: Identity, messages: AsyncIterable<T>): AsyncGenerator<T, void, void> {
    const caller = callerOf(identity);
    const count = this.#watches.get(caller) ?? 0;
    if (count >= watchesEach) throw exhausted(`cannot watch: at most ${watchesEach} watches of one caller`, 1000);
    this.#watches.set(caller, count + 1);
    try {
      yield* messages;
    } finally {
      const left = this.#watches.get(caller)! - 1;
      if (left === 0) this.#watches.delete(caller);
      else this.#watches.set(caller, left);
    }
  }

  #take(caller: string): void {
    const nowMs = this.#clock.monotonicMs();
    const bucket = this.#buckets.get(caller) ?? { tokens: burstEach, atMs: nowMs };
    const tokens = Math.min(burstEach, bucket.tokens + ((nowMs - bucket.atMs) / 1000) * sustainedEach);
    if (tokens < 1) throw exhausted(`cannot take the change: at most ${sustainedEach} a second from one caller`, 1000 / sustainedEach);
    this.#buckets.set(caller, { tokens: tokens - 1, atMs: nowMs });
  }
}

function callerOf(identity: Identity): string {
  return `${identity.kind}:${nameOf(identity)}`;
}

function exhausted(message: string, retryAfterMs: number): GantryError {
  return new GantryError(Code.resourceExhausted, message, { details: { retryAfterMs, hint: 'try again later' }, retryable: true });
}
