import { createHash, type X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import { Code, GantryError } from '@gantry/common';

const timeoutMs = 5000;

/** The parts of a join token, "gantry1.<pin>.<id>.<secret>". */
export interface JoinTokenParts {
  /** SHA-256 of the CA's public key (SPKI), base64url. */
  pin: string;
  id: string;
  secret: string;
}

/** @throws GantryError invalidArgument; the message holds nothing of the secret. */
export function parseToken(text: string): JoinTokenParts {
  const match = /^gantry1\.([\w-]{43})\.([\w-]{1,64})\.([\w-]{1,256})$/.exec(text.trim());
  if (!match) {
    throw new GantryError(Code.invalidArgument, 'cannot read the join token: must be "gantry1.<pin>.<id>.<secret>"', {
      details: { hint: 'make one with: gantry token create' },
    });
  }
  return { pin: match[1]!, id: match[2]!, secret: match[3]! };
}

/** The pin of a CA: SHA-256 of its public key. */
export function pinOf(certificate: X509Certificate): string {
  return createHash('sha256')
    .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64url');
}

/**
 * The CA of the server at `address`, after its key was found to be the pinned one and the server's certificate
 * to be signed by it. Nothing is sent to the server but the handshake.
 * @throws GantryError unauthenticated when it is another cluster, unavailable when the server cannot be reached.
 */
export async function fetchPinnedCa(address: string, pin: string): Promise<string> {
  const chain = await serverChain(address);
  const leaf = chain[0];
  const ca = chain.find((certificate) => certificate.ca && pinOf(certificate) === pin);
  if (!leaf || !ca?.verify(ca.publicKey) || !leaf.verify(ca.publicKey)) {
    throw new GantryError(
      Code.unauthenticated,
      `cannot trust the control plane at "${address}": its CA is not the one that the join token pins`,
      {
        details: { hint: 'check the address, or make a token on that cluster' },
      },
    );
  }
  return ca.toString();
}

function serverChain(address: string): Promise<X509Certificate[]> {
  const colon = address.lastIndexOf(':');
  return new Promise((resolve, reject) => {
    const fail = (reason: string, cause?: unknown) => {
      socket.destroy();
      reject(new GantryError(Code.unavailable, `cannot reach the control plane at "${address}": ${reason}`, { cause }));
    };
    const socket = connect({
      host: address.slice(0, colon).replace(/^\[|\]$/g, ''),
      port: Number(address.slice(colon + 1)),
      ALPNProtocols: ['h2'],
      // the chain is judged against the pin instead, before anything is sent
      rejectUnauthorized: false,
      timeout: timeoutMs,
    });
    socket.on('timeout', () => fail(`no answer within ${timeoutMs} ms`));
    socket.on('error', (error) => fail(error.message, error));
    socket.on('secureConnect', () => {
      const certificates: X509Certificate[] = [];
      const seen = new Set<string>();
      for (let peer = socket.getPeerX509Certificate(); peer && !seen.has(peer.fingerprint256); peer = peer.issuerCertificate) {
        seen.add(peer.fingerprint256);
        certificates.push(peer);
      }
      socket.destroy();
      resolve(certificates);
    });
  });
}
