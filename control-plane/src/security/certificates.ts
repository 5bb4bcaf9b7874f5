import { randomBytes, type webcrypto } from 'node:crypto';
import { Code, GantryError } from '@gantry/common';
import { loadX509 } from './x509.ts';

/** What stands in the subject of every certificate that Gantry issues. */
export const organizations = { server: 'gantry:server', user: 'gantry:user', node: 'gantry:node' } as const;

/** A key of webcrypto. */
export type CryptoKey = webcrypto.CryptoKey;

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const dayMs = 86_400_000;
/** Certificates are valid from before their issue, so that peers whose clock is a day behind accept them. */
const backdateMs = 25 * 3_600_000;

/** A certificate with the key it belongs to, both PEM. */
export interface KeyedCertificate {
  certificate: string;
  key: string;
}

/** What a certificate is to say. */
export interface LeafOptions {
  organization: string;
  organizationalUnit: string;
  commonName: string;
  usage: 'server' | 'client';
  dnsNames?: readonly string[];
  ipAddresses?: readonly string[];
  /** Milliseconds from now. */
  lifetimeMs: number;
  /** Microseconds since the epoch. */
  nowUs: number;
  /** Hex digits; default random. */
  serial?: string;
}

/** A CA that can sign. */
export interface Issuer {
  /** PEM. */
  certificate: string;
  key: CryptoKey;
}

/** A serial number of 127 random bits, in hex. */
export function newSerial(): string {
  const bytes = randomBytes(16);
  // positive, and never shortened by its encoding
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes.toString('hex');
}

/** Makes a new CA (ECDSA P-256, ten years); the key is PKCS#8 in DER. */
export async function createCa(nowUs: number): Promise<{ certificate: string; key: Uint8Array }> {
  const x509 = await loadX509();
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const nowMs = nowUs / 1000;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ O: ['gantry'] }, { CN: [`Gantry CA ${randomBytes(4).toString('hex')}`] }],
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(nowMs - backdateMs),
    notAfter: new Date(nowMs + 3650 * dayMs),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString('pem'), key: new Uint8Array(await crypto.subtle.exportKey('pkcs8', keys.privateKey)) };
}

/** Imports a CA's PKCS#8 key so that it can sign and nothing else. */
export async function importCaKey(pkcs8: Uint8Array): Promise<CryptoKey> {
  return await crypto.subtle.importKey('pkcs8', Buffer.from(pkcs8), algorithm, false, ['sign']);
}

/** Signs a certificate for a public key; PEM. */
export async function issueFor(issuer: Issuer, publicKey: CryptoKey, options: LeafOptions): Promise<string> {
  const x509 = await loadX509();
  const nowMs = options.nowUs / 1000;
  const names = [
    ...(options.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(options.ipAddresses ?? []).map((value) => ({ type: 'ip' as const, value })),
  ];
  const usage = options.usage === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: options.serial ?? newSerial(),
    subject: [{ O: [options.organization] }, { OU: [options.organizationalUnit] }, { CN: [options.commonName] }],
    issuer: new x509.X509Certificate(issuer.certificate).subjectName,
    publicKey,
    signingKey: issuer.key,
    signingAlgorithm: algorithm,
    notBefore: new Date(nowMs - backdateMs),
    notAfter: new Date(nowMs + options.lifetimeMs),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([usage]),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  return certificate.toString('pem');
}

/** Makes a key and a certificate for it. */
export async function issueWithKey(issuer: Issuer, options: LeafOptions): Promise<KeyedCertificate> {
  const x509 = await loadX509();
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await issueFor(issuer, keys.publicKey, options);
  return { certificate, key: x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY') };
}

/**
 * The public key of a certificate request, whatever else it asks for.
 * @param csr PKCS#10 in DER.
 * @throws GantryError invalidArgument unless it is signed by its own key, ECDSA P-256.
 */
export async function publicKeyOfRequest(csr: Uint8Array): Promise<CryptoKey> {
  const refuse = (found: string, cause?: unknown) =>
    new GantryError(
      Code.invalidArgument,
      `cannot read the certificate request: it must be PKCS#10 signed with ECDSA P-256, found ${found}`,
      {
        cause,
      },
    );
  if (csr.length === 0 || csr.length > 4096) throw refuse(`${csr.length} bytes`);
  const x509 = await loadX509();
  try {
    const request = new x509.Pkcs10CertificateRequest(Buffer.from(csr));
    const key = await request.publicKey.export(algorithm, ['verify']);
    if (await request.verify()) return key;
  } catch (error) {
    throw refuse('something else', error);
  }
  throw refuse('a wrong signature');
}
