import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { backoffMs, type Clock, Code, GantryError, type Logger, sleep, writeFileAtomic } from '@gantry/common';
import type { CallContext } from '@gantry/proto';
import type { Store } from '../store/store.ts';
import { createAuthenticator, type Identity, type NodeRegistry } from './authn.ts';
import { requireRule } from './authz.ts';
import { type CertificateAuthority, openAuthority, publicKeyPin } from './ca.ts';
import { createEnrolment, type Enrolment } from './enrolment.ts';
import { createSealer, loadClusterKey, type Sealer } from './sealer.ts';
import { createServerCredentials, type RotatingCredentials } from './server-credentials.ts';
import { issueServerIdentity, readServerIdentity, renewalMs, type ServerIdentity } from './server-identity.ts';
import { createTokens, type Tokens } from './tokens.ts';

export interface OpenSecurityOptions {
  store: Store;
  clock: Clock;
  log: Logger;
  random: () => number;
  /** Holds cluster.key and the server's certificate. */
  dataDir: string;
  /** Names and addresses that clients dial. */
  hosts: readonly string[];
  nodes: NodeRegistry;
  signal: AbortSignal;
}

/** Who the cluster trusts, in one place. */
export interface ClusterSecurity {
  readonly authority: CertificateAuthority;
  readonly sealer: Sealer;
  readonly tokens: Tokens;
  readonly enrolment: Enrolment;
  readonly credentials: RotatingCredentials;
  /** Who calls and whether they may; throws unauthenticated or permissionDenied. */
  authorize(call: Omit<CallContext, 'identity'>): Identity;
}

/** How long a start waits for the store when it could serve without it. */
const patienceMs = 2000;
/** How long a signature waits for the CA's key: longer than the pause between two tries to read it. */
const signMs = 5000;

/**
 * Opens the cluster's CA and makes what rests on it. A control plane that has been there before starts without the store,
 * so that it can say what is wrong; a new one waits for it.
 */
export async function openSecurity(options: OpenSecurityOptions): Promise<ClusterSecurity> {
  const { store, clock, dataDir, hosts, nodes } = options;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const sealer = createSealer(await loadClusterKey(join(dataDir, 'cluster.key')));
  const path = join(dataDir, 'server.json');
  const kept = await readServerIdentity(path, clock, hosts);
  const opening = keepOpening(options, sealer);
  const opened = kept ? await within(clock, patienceMs, opening) : await opening;
  let identity = kept;
  if (opened && kept?.ca !== opened.certificate) identity = await issueServerIdentity({ authority: opened, clock, path, hosts });
  const authority = opened ?? lateAuthority(options, kept!, opening);
  const tokens = createTokens({ store, clock, pin: authority.pin });
  const authenticate = createAuthenticator({ ca: authority.certificate, clock, nodes });
  const credentials = createServerCredentials(identity!);
  void keepIdentity({ ...options, authority, credentials, path }, identity!);
  return {
    authority,
    sealer,
    tokens,
    credentials,
    enrolment: createEnrolment({ store, clock, authority, tokens }),
    authorize: (call) => {
      const caller = authenticate(call.certificate);
      requireRule(call.path, caller);
      return caller;
    },
  };
}

/** Tries until the store answers. */
async function keepOpening({ store, clock, log, random, signal }: OpenSecurityOptions, sealer: Sealer): Promise<CertificateAuthority> {
  for (let failures = 0; ; failures++) {
    try {
      return await openAuthority({ store, sealer, nowUs: clock.nowUs() });
    } catch (thrown) {
      const error = GantryError.from(thrown);
      if (!error.retryable || signal.aborted) throw error;
      if (failures === 0) log.warn({ err: error.message }, 'waiting for the store');
      await sleep(clock, backoffMs(failures, random(), { minMs: 100, maxMs: 2000 }), signal);
    }
  }
}

/** The CA that the kept certificate was signed by, whose key comes when the store does. */
function lateAuthority({ clock }: OpenSecurityOptions, kept: ServerIdentity, opening: Promise<CertificateAuthority>): CertificateAuthority {
  opening.catch(() => {
    // whoever needs the key is told
  });
  return {
    certificate: kept.ca,
    pin: publicKeyPin(kept.ca),
    issuer: async () => {
      const opened = await within(clock, signMs, opening);
      if (!opened) throw new GantryError(Code.unavailable, 'cannot sign a certificate: the store does not answer');
      if (opened.certificate === kept.ca) return await opened.issuer();
      throw new GantryError(
        Code.failedPrecondition,
        'cannot sign a certificate: the store has another CA than this control plane was started with',
        {
          details: { hint: 'restart this control plane' },
        },
      );
    },
  };
}

/** What the promise brings within the time, else nothing. */
async function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T | undefined> {
  const settled = new AbortController();
  const late = sleep(clock, ms, settled.signal).then(
    () => undefined,
    () => undefined,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    settled.abort();
  }
}

/** Replaces the server's certificate at two thirds of its life. */
async function keepIdentity(
  options: OpenSecurityOptions & { authority: CertificateAuthority; credentials: RotatingCredentials; path: string },
  first: ServerIdentity,
): Promise<void> {
  const { clock, log, signal, authority, credentials, path, hosts } = options;
  let identity = first;
  while (!signal.aborted) {
    const waitMs = Math.max(60_000, Math.min(renewalMs(identity, clock), 86_400_000));
    await sleep(clock, waitMs, signal).catch(() => undefined);
    if (signal.aborted || renewalMs(identity, clock) > 0) continue;
    try {
      identity = await issueServerIdentity({ authority, clock, path, hosts });
      credentials.replace(identity);
    } catch (error) {
      log.warn({ err: GantryError.from(error).message }, 'cannot renew the server certificate, will try again');
    }
  }
}

/** Nodes that may join with the bootstrap token, within an hour of the first start. */
const bootstrapUses = 50;
const bootstrapTtlUs = 3_600_000_000;

/** Writes a join token for the nodes of a cluster that is being set up, unless the file is there. */
export async function ensureBootstrapToken(tokens: Tokens, path: string, isThere: (path: string) => Promise<boolean>): Promise<void> {
  if (await isThere(path)) return;
  const { token } = await tokens.create({ ttlUs: bootstrapTtlUs, uses: bootstrapUses, description: 'made at the first start' });
  await writeFileAtomic(path, `${token}\n`, { mode: 0o600 });
}
