import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { type Clock, writeFileAtomic } from '@gantry/common';
import type { CertificateAuthority } from './ca.ts';
import { issueWithKey, organizations } from './certificates.ts';

const lifetimeMs = 30 * 86_400_000;
/** The name that clients expect in the server's certificate, whatever address they dial. */
const serverName = 'gantry-control-plane';

/** What the gRPC port shows, all PEM. */
export interface ServerIdentity {
  ca: string;
  certificate: string;
  key: string;
}

/**
 * The server's certificate as the data folder keeps it, so that a control plane can start and say what is wrong while the
 * store is away. Undefined when there is none for all these hosts with a third of its life left.
 */
export async function readServerIdentity(path: string, clock: Clock, hosts: readonly string[]): Promise<ServerIdentity | undefined> {
  try {
    const identity = JSON.parse(await readFile(path, 'utf8')) as ServerIdentity;
    const certificate = new X509Certificate(identity.certificate);
    const isSigned = certificate.verify(new X509Certificate(identity.ca).publicKey);
    const covers = hosts.every((host) => (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined);
    return isSigned && covers && renewalMs(identity, clock) > 0 ? identity : undefined;
  } catch {
    // absent or unreadable: a new one is issued
    return undefined;
  }
}

/** Milliseconds until the server's certificate is to be replaced: at two thirds of its life. */
export function renewalMs(identity: ServerIdentity, clock: Clock): number {
  return Date.parse(new X509Certificate(identity.certificate).validTo) - clock.nowUs() / 1000 - lifetimeMs / 3;
}

export interface IssueServerIdentityOptions {
  authority: CertificateAuthority;
  clock: Clock;
  /** Where it is kept (0600). */
  path: string;
  /** Names and addresses that clients may dial, beside `serverName` and localhost. */
  hosts: readonly string[];
}

/** Issues a server certificate and keeps it in the data folder. */
export async function issueServerIdentity({ authority, clock, path, hosts }: IssueServerIdentityOptions): Promise<ServerIdentity> {
  const addresses = hosts.filter((host) => isIP(host) !== 0);
  const names = hosts.filter((host) => isIP(host) === 0);
  const issued = await issueWithKey(await authority.issuer(), {
    organization: organizations.server,
    organizationalUnit: 'control-plane',
    commonName: serverName,
    usage: 'server',
    dnsNames: [...new Set([serverName, 'localhost', ...names])],
    ipAddresses: [...new Set(['127.0.0.1', ...addresses])],
    lifetimeMs,
    nowUs: clock.nowUs(),
  });
  const identity = { ca: authority.certificate, ...issued };
  await writeFileAtomic(path, JSON.stringify(identity), { mode: 0o600 });
  return identity;
}
