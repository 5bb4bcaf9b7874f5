import { createHash, X509Certificate } from 'node:crypto';
import { Code, GantryError } from '@gantry/common';
import { Authority } from '@gantry/proto';
import { keys } from '../store/keys.ts';
import type { Store } from '../store/store.ts';
import { type CryptoKey, createCa, type Issuer, importCaKey } from './certificates.ts';
import type { Sealer } from './sealer.ts';

/** The cluster's own CA. */
export interface CertificateAuthority {
  /** PEM. */
  readonly certificate: string;
  /** SHA-256 of the public key (SPKI, DER) in base64url: what join tokens pin. */
  readonly pin: string;
  /** @throws GantryError dataLoss when this process's key file did not seal the CA's key. */
  issuer(): Promise<Issuer>;
}

/** SHA-256 of a certificate's public key (SPKI, DER) in base64url. */
export function publicKeyPin(certificate: string): string {
  const spki = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('base64url');
}

export interface OpenAuthorityOptions {
  store: Store;
  sealer: Sealer;
  /** Microseconds since the epoch. */
  nowUs: number;
}

/** Reads the CA from the store, or makes it when the cluster has none yet; of several that try at once one wins. */
export async function openAuthority({ store, sealer, nowUs }: OpenAuthorityOptions): Promise<CertificateAuthority> {
  const present = await store.get(keys.authority());
  if (present) return authorityOf(Authority.decode(present.value), sealer);
  const made = await createCa(nowUs);
  const record = Authority.create({ certificate: made.certificate, sealedKey: sealer.seal(made.key, keys.authority()) });
  await store.transact({
    compare: [{ kind: 'createRevision', key: keys.authority(), equals: 0 }],
    writes: [{ kind: 'put', key: keys.authority(), value: Authority.encode(record) }],
  });
  const stored = await store.get(keys.authority());
  if (!stored) throw new GantryError(Code.internal, 'cannot make the CA: its record must be in the store, found none');
  return authorityOf(Authority.decode(stored.value), sealer);
}

function authorityOf(record: Authority, sealer: Sealer): CertificateAuthority {
  let key: Promise<CryptoKey> | undefined;
  return {
    certificate: record.certificate,
    pin: publicKeyPin(record.certificate),
    issuer: async () => {
      key ??= importCaKey(sealer.open(record.sealedKey, keys.authority()));
      return { certificate: record.certificate, key: await key };
    },
  };
}
