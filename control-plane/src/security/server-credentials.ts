import { experimental, type ServerCredentials } from '@grpc/grpc-js';
import type { ServerIdentity } from './server-identity.ts';

/** TLS of the gRPC port whose certificate can be replaced while it serves. */
export interface RotatingCredentials {
  readonly credentials: ServerCredentials;
  /** New connections see the new certificate. */
  replace(identity: ServerIdentity): void;
}

/**
 * Server credentials that ask every client for a certificate but let one without in, so that enrolment needs no second
 * port. grpc-js hands a certificate to the handlers only when the CA has signed it; without one a caller is anonymous and
 * the rules let it enroll and nothing else.
 */
export function createServerCredentials(identity: ServerIdentity): RotatingCredentials {
  let current = identity;
  const caListeners = new Set<(update: { caCertificate: Buffer }) => void>();
  const identityListeners = new Set<(update: { certificate: Buffer; privateKey: Buffer }) => void>();
  const caUpdate = () => ({ caCertificate: Buffer.from(current.ca) });
  const identityUpdate = () => ({ certificate: Buffer.from(current.certificate), privateKey: Buffer.from(current.key) });
  const provider = {
    // the server begins to listen for updates only after it has added us: what is told at once would be lost
    addCaCertificateListener: (listener: (update: { caCertificate: Buffer }) => void) => {
      caListeners.add(listener);
      queueMicrotask(() => listener(caUpdate()));
    },
    removeCaCertificateListener: (listener: (update: { caCertificate: Buffer }) => void) => void caListeners.delete(listener),
    addIdentityCertificateListener: (listener: (update: { certificate: Buffer; privateKey: Buffer }) => void) => {
      identityListeners.add(listener);
      queueMicrotask(() => listener(identityUpdate()));
    },
    removeIdentityCertificateListener: (listener: (update: { certificate: Buffer; privateKey: Buffer }) => void) =>
      void identityListeners.delete(listener),
  };
  return {
    credentials: experimental.createCertificateProviderServerCredentials(provider, provider, false),
    replace: (next) => {
      current = next;
      for (const listener of caListeners) listener(caUpdate());
      for (const listener of identityListeners) listener(identityUpdate());
    },
  };
}
