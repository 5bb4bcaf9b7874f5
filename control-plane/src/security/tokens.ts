import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { type Clock, Code, GantryError } from '@gantry/common';
import { JoinToken } from '@gantry/proto';
import { keys, prefixes } from '../store/keys.ts';
import type { Comparison, Store, Write } from '../store/store.ts';

const hourUs = 3_600_000_000;

interface CreateTokenOptions {
  /** Microseconds; default one hour. */
  ttlUs?: number;
  /** Default one. */
  uses?: number;
  description?: string;
}

/** Join tokens: made by operators, redeemed by agents. Only a hash of the secret is stored. */
export interface Tokens {
  /** The token's text is known now and never again: "gantry1.<pin of the CA>.<id>.<secret>". */
  create(options?: CreateTokenOptions): Promise<{ token: string; record: JoinToken }>;
  list(): Promise<JoinToken[]>;
  /** @throws GantryError notFound */
  revoke(id: string): Promise<void>;
  /**
   * What a transaction must compare and write to count one use down.
   * @throws GantryError unauthenticated when the token is unknown, used up, expired or the secret is wrong.
   */
  redemption(id: string, secret: string): Promise<{ compare: Comparison; write: Write }>;
}

export interface TokensOptions {
  store: Store;
  clock: Clock;
  /** Pin of the CA's public key. */
  pin: string;
}

/** Tokens kept in the store. */
export function createTokens({ store, clock, pin }: TokensOptions): Tokens {
  return {
    create: async ({ ttlUs = hourUs, uses = 1, description = '' } = {}) => {
      const id = randomBytes(5).toString('hex');
      const secret = randomBytes(32).toString('base64url');
      const now = clock.nowUs();
      const record = JoinToken.create({
        id,
        secretHash: hashOf(secret),
        expiresAt: now + ttlUs,
        usesLeft: uses,
        createdAt: now,
        description,
      });
      await store.transact({
        compare: [{ kind: 'createRevision', key: keys.token(id), equals: 0 }],
        writes: [{ kind: 'put', key: keys.token(id), value: JoinToken.encode(record) }],
      });
      return { token: `gantry1.${pin}.${id}.${secret}`, record };
    },
    list: async () => (await store.list(prefixes.tokens)).items.map((item) => JoinToken.decode(item.value)),
    revoke: async (id) => {
      const present = await store.get(keys.token(id));
      if (!present) throw new GantryError(Code.notFound, `cannot revoke token "${id}": there is no such token`);
      await store.transact({ compare: [], writes: [{ kind: 'delete', key: keys.token(id) }] });
    },
    redemption: async (id, secret) => {
      const present = /^[0-9a-f]{10}$/.test(id) ? await store.get(keys.token(id)) : undefined;
      const record = present ? JoinToken.decode(present.value) : undefined;
      if (!present || !record || !timingSafeEqual(hashOf(secret), Buffer.from(record.secretHash))) throw refused('the token is not known');
      if (record.expiresAt <= clock.nowUs()) throw refused('the token has expired');
      if (record.usesLeft === 0) throw refused('the token is used up');
      const key = keys.token(id);
      const left = record.usesLeft - 1;
      return {
        compare: { kind: 'modRevision', key, equals: present.modRevision },
        write:
          left === 0
            ? { kind: 'delete', key }
            : { kind: 'put', key, value: JoinToken.encode(JoinToken.create({ ...record, usesLeft: left })) },
      };
    },
  };
}

function refused(reason: string): GantryError {
  return new GantryError(Code.unauthenticated, `cannot enroll: ${reason}`, {
    details: { hint: 'ask an operator for a new one: gantry token create' },
  });
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
