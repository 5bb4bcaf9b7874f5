import { X509Certificate } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Clock, writeFileAtomic } from '@gantry/common';
import type { CertificateAuthority } from './ca.ts';
import { issueWithKey, organizations } from './certificates.ts';

const yearMs = 365 * 86_400_000;

/** What the `gantry` command reads to reach a cluster. */
export interface Context {
  name: string;
  address: string;
  /** PEM, as are the next two. */
  ca: string;
  certificate: string;
  key: string;
  namespace: string;
}

export interface ContextFileOptions {
  path: string;
  authority: CertificateAuthority;
  clock: Clock;
  /** "127.0.0.1:7400" */
  address: string;
  /** Name of the user, default "local". */
  user?: string;
  /** Whether a control plane answers at another address than ours: then a file that names it stays. */
  answers: (address: string) => Promise<boolean>;
}

/**
 * Sees to it that the local operator's context file (0600) is there: one that is good for a third of its life and more, and
 * names an address that answers, stays.
 */
export async function ensureContextFile(options: ContextFileOptions): Promise<void> {
  const { path, authority, clock, address, user = 'local', answers } = options;
  const present = await readContext(path);
  const isGood = present !== undefined && isUsable(present, authority, clock);
  if (isGood && (present.address === address || (await answers(present.address)))) return;
  const issued = await issueWithKey(await authority.issuer(), {
    organization: organizations.user,
    organizationalUnit: '*',
    commonName: user,
    usage: 'client',
    lifetimeMs: yearMs,
    nowUs: clock.nowUs(),
  });
  const context: Context = { name: user, address, ca: authority.certificate, ...issued, namespace: 'default' };
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFileAtomic(path, `${JSON.stringify(context, undefined, 2)}\n`, { mode: 0o600 });
}

function isUsable(context: Context, authority: CertificateAuthority, clock: Clock): boolean {
  try {
    const certificate = new X509Certificate(context.certificate);
    const leftMs = Date.parse(certificate.validTo) - clock.nowUs() / 1000;
    return context.ca === authority.certificate && certificate.verify(new X509Certificate(context.ca).publicKey) && leftMs > yearMs / 3;
  } catch {
    // what does not parse is replaced
    return false;
  }
}

async function readContext(path: string): Promise<Context | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Context;
  } catch {
    // absent or unreadable: a new one is written
    return undefined;
  }
}
