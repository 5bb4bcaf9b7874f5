import { hash, X509Certificate } from 'node:crypto';
import { type Clock, Code, GantryError } from '@gantry/common';
import type { NodeSettings } from '@gantry/proto';
import { LRUCache } from 'lru-cache';
import { organizations } from './certificates.ts';

/** Who calls, by the client's certificate and by nothing else. */
export type Identity =
  | { readonly kind: 'anonymous' }
  /** `namespace` is "*" for operators. */
  | { readonly kind: 'user'; readonly name: string; readonly namespace: string }
  | { readonly kind: 'node'; readonly name: string };

/** What authentication must know of nodes. */
export interface NodeRegistry {
  /** False until the picture of the cluster is complete: nodes are then asked to come again. */
  readonly ready: boolean;
  settings(name: string): NodeSettings | undefined;
}

export interface AuthenticatorOptions {
  /** PEM. */
  ca: string;
  clock: Clock;
  nodes: NodeRegistry;
}

interface Known {
  readonly identity: Identity;
  readonly notAfterUs: number;
  /** Nodes only: serial of the certificate that the node enrolled with. */
  readonly enrolment: string;
}

const anonymous: Identity = { kind: 'anonymous' };

/**
 * Finds a caller's identity. A certificate is read once and remembered by its fingerprint; its end and whether its node
 * is still welcome are looked at on every call.
 */
export type Authenticator = (certificate: Buffer | undefined) => Identity;

/** @returns a function that throws GantryError unauthenticated (or unavailable while the nodes are not known yet). */
export function createAuthenticator({ ca, clock, nodes }: AuthenticatorOptions): Authenticator {
  const caKey = new X509Certificate(ca).publicKey;
  const cache = new LRUCache<string, Known>({ max: 2000 });
  return (certificate) => {
    if (!certificate) return anonymous;
    const fingerprint = hash('sha256', certificate, 'base64');
    let known = cache.get(fingerprint);
    if (!known) {
      const parsed = new X509Certificate(certificate);
      if (!parsed.verify(caKey)) throw refused('it must be signed by the CA of this cluster');
      known = readIdentity(parsed);
      cache.set(fingerprint, known);
    }
    if (known.notAfterUs <= clock.nowUs()) throw refused('it must not have expired');
    if (known.identity.kind === 'node') checkNode(known.identity.name, known.enrolment, nodes);
    return known.identity;
  };
}

function checkNode(name: string, enrolment: string, nodes: NodeRegistry): void {
  const settings = nodes.settings(name);
  if (settings && !settings.removed && settings.certificateSerial === enrolment) return;
  if (!nodes.ready)
    throw new GantryError(Code.unavailable, `cannot authenticate node "${name}": the control plane is still reading its store`);
  if (!settings || settings.removed) throw refused(`node "${name}" has been removed`);
  throw refused(`node "${name}" has enrolled again since`);
}

function readIdentity(certificate: X509Certificate): Known {
  const subject = new Map(
    certificate.subject.split('\n').map((line) => {
      const equals = line.indexOf('=');
      return [line.slice(0, equals), line.slice(equals + 1)] as const;
    }),
  );
  const name = subject.get('CN') ?? '';
  const unit = subject.get('OU') ?? '';
  const known = { notAfterUs: Date.parse(certificate.validTo) * 1000, enrolment: unit };
  if (name !== '' && unit !== '') {
    if (subject.get('O') === organizations.user) return { ...known, identity: { kind: 'user', name, namespace: unit } };
    if (subject.get('O') === organizations.node) return { ...known, identity: { kind: 'node', name } };
  }
  throw refused('its subject must name a user or a node');
}

function refused(reason: string): GantryError {
  return new GantryError(Code.unauthenticated, `cannot accept the client certificate: ${reason}`);
}
