import { randomInt } from 'node:crypto';
import { backoffMs, type Clock, Code, GantryError, sleep } from '@gantry/common';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { Etcd3, ILeaseKeepAliveRequest, ILeaseKeepAliveResponse } from 'etcd3';
import { etcdCode, etcdError } from './etcd-client.ts';
import type { StoreLease } from './store.ts';

type KeepAliveStream = ClientDuplexStream<ILeaseKeepAliveRequest, ILeaseKeepAliveResponse>;

export interface EtcdLeaseOptions {
  client: Etcd3;
  clock: Clock;
  random: () => number;
  ttlMs: number;
}

const maxLeaseId = 2 ** 48 - 1;
/** Share of its time after which an unconfirmed lease must be taken as lost. */
const trustedShare = 0.8;
const reconnect = { minMs: 50, maxMs: 500 };

/**
 * A lease kept by our own clock: it counts as lost when 0.8 of its time has passed since the keepalive was sent that
 * etcd answered last. etcd's word that it is over ends it at once.
 */
export async function grantLease(options: EtcdLeaseOptions): Promise<StoreLease> {
  const { client, clock, ttlMs } = options;
  const sentAt = clock.monotonicMs();
  const seconds = Math.ceil(ttlMs / 1000);
  // an id of our own: etcd's are larger than the numbers that protobufjs, as Gantry sets it up, keeps exactly
  const id = String(1 + randomInt(maxLeaseId));
  const granted = await client.leaseClient.leaseGrant({ TTL: String(seconds), ID: id }).catch((error: unknown) => {
    throw etcdError(error, 'make a lease', true);
  });
  const session = new LeaseSession(options, id, Number(granted.TTL) * 1000, sentAt);
  session.start();
  return {
    id,
    lost: session.lost,
    revoke: async () => {
      session.end(new GantryError(Code.cancelled, 'the lease was given back'));
      try {
        await client.leaseClient.leaseRevoke({ ID: id });
      } catch (error) {
        // one that has run out already is as good as given back
        if (etcdCode(error) !== Code.notFound) throw etcdError(error, 'give a lease back', true);
      }
    },
  };
}

class LeaseSession {
  readonly #options: EtcdLeaseOptions;
  readonly #id: string;
  readonly #ttlMs: number;
  readonly #lost = new AbortController();
  #confirmedMs: number;
  #cancelDeadline = () => {};

  constructor(options: EtcdLeaseOptions, id: string, ttlMs: number, sentAt: number) {
    this.#options = options;
    this.#id = id;
    this.#ttlMs = ttlMs;
    this.#confirmedMs = sentAt;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  start(): void {
    this.#confirm(this.#confirmedMs);
    void this.#keep();
  }

  end(reason: GantryError): void {
    this.#cancelDeadline();
    this.#lost.abort(reason);
  }

  /** Moves the deadline: a keepalive sent at `sentAt` was answered. */
  #confirm(sentAt: number): void {
    const { clock } = this.#options;
    this.#confirmedMs = sentAt;
    this.#cancelDeadline();
    const leftMs = sentAt + this.#ttlMs * trustedShare - clock.monotonicMs();
    this.#cancelDeadline = clock.timer(Math.max(0, leftMs), () =>
      this.end(new GantryError(Code.unavailable, 'the lease was not confirmed in time')),
    );
  }

  async #keep(): Promise<void> {
    const { clock, random } = this.#options;
    let failures = 0;
    while (!this.lost.aborted) {
      const before = this.#confirmedMs;
      // a broken stream is opened again until the deadline decides
      await this.#stream().catch(() => {});
      failures = this.#confirmedMs > before ? 0 : failures + 1;
      await sleep(clock, backoffMs(failures, random(), reconnect), this.lost).catch(() => {});
    }
  }

  /** Keepalives over one stream: the next is sent a quarter of the time after the answer to the one before. */
  async #stream(): Promise<void> {
    const { client, clock } = this.#options;
    const call = (await client.leaseClient.leaseKeepAlive()) as unknown as KeepAliveStream;
    const cancel = () => call.cancel();
    call.on('error', () => {});
    this.lost.addEventListener('abort', cancel, { once: true });
    let cancelNext = () => {};
    let cancelSilence = () => {};
    let sentAt = 0;
    const send = () => {
      sentAt = clock.monotonicMs();
      cancelSilence = clock.timer(this.#ttlMs / 4, cancel);
      call.write({ ID: this.#id });
    };
    try {
      send();
      for await (const answer of call as AsyncIterable<ILeaseKeepAliveResponse>) {
        cancelSilence();
        if (Number(answer.TTL) <= 0) return this.end(new GantryError(Code.notFound, 'the lease has ended'));
        this.#confirm(sentAt);
        cancelNext = clock.timer(this.#ttlMs / 4, send);
      }
    } finally {
      cancelNext();
      cancelSilence();
      this.lost.removeEventListener('abort', cancel);
      call.cancel();
    }
  }
}
