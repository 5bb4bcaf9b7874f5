import { backoffMs, type Clock, GantryError, type Logger, sleep } from '@gantry/common';
import { Gateway } from '@gantry/proto';
import { keys } from '../store/keys.ts';
import type { Store, StoreLease } from '../store/store.ts';
import { aborted } from './signals.ts';

const leaseMs = 5000;

export interface PresenceOptions {
  id: string;
  address: string;
  store: Store;
  clock: Clock;
  log: Logger;
  random: () => number;
  signal: AbortSignal;
}

/**
 * Keeps this gateway's record in the store under a lease, and puts it there again whenever the lease is lost, until the
 * signal aborts; then the record goes at once.
 * @param onPresent told the first time it stands there.
 */
export async function keepPresence(options: PresenceOptions, onPresent: () => void): Promise<void> {
  const { id, address, store, clock, log, random, signal } = options;
  const startedAt = clock.nowUs();
  for (let failures = 0; !signal.aborted; ) {
    let lease: StoreLease | undefined;
    try {
      lease = await store.lease(leaseMs);
      const value = Gateway.encode(Gateway.create({ id, address, startedAt }));
      await store.transact({ compare: [], writes: [{ kind: 'put', key: keys.gateway(id), value, lease: lease.id }] });
      failures = 0;
      onPresent();
      await aborted(lease.lost, signal);
    } catch (error) {
      if (failures === 0) log.warn({ err: GantryError.from(error).message }, 'cannot register this gateway, will try again');
      await sleep(clock, backoffMs(failures++, random(), { minMs: 50, maxMs: 1000 }), signal).catch(() => undefined);
    }
    // a lease that is lost, or left from a failed attempt, goes too
    await lease?.revoke().catch(() => undefined);
  }
}
