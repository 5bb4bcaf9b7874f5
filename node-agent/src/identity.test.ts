import 'reflect-metadata';
import { type webcrypto, X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, GantryError, ManualClock, silentLogger, systemClock } from '@gantry/common';
import { AgentsService, EnrollResponse, implement } from '@gantry/proto';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import * as x509 from '@peculiar/x509';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { NodeIdentity } from './identity.ts';
import { parseToken, pinOf } from './identity-pin.ts';
import { certificateRequest, newKey } from './identity-request.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const hourMs = 3_600_000;
const lifeMs = 24 * hourMs;

interface Ca {
  certificate: x509.X509Certificate;
  keys: webcrypto.CryptoKeyPair;
}

async function newCa(): Promise<Ca> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=Test CA',
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - 1000),
    notAfter: new Date(Date.now() + lifeMs),
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  });
  return { certificate, keys };
}

async function issue(ca: Ca, subject: string, publicKey: webcrypto.CryptoKey, validMs = lifeMs): Promise<string> {
  const certificate = await x509.X509CertificateGenerator.create({
    subject,
    publicKey,
    issuer: ca.certificate.subjectName,
    signingKey: ca.keys.privateKey,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - 25 * hourMs),
    notAfter: new Date(Date.now() + validMs),
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'gantry-control-plane' }])],
  });
  return certificate.toString('pem');
}

let ca: Ca;
let server: Server;
let address: string;
let pin: string;
let folder: string;
const calls: { kind: string; secret: string }[] = [];
const identities: NodeIdentity[] = [];

async function answer(csr: Uint8Array): Promise<EnrollResponse> {
  const request = new x509.Pkcs10CertificateRequest(Buffer.from(csr));
  if (!(await request.verify())) throw new GantryError(Code.invalidArgument, 'a wrong signature');
  const certificate = await issue(ca, request.subject, await request.publicKey.export(algorithm, ['verify']));
  return EnrollResponse.create({ certificate, ca: ca.certificate.toString('pem') });
}

async function listen(issuer: Ca): Promise<Server> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await issue(issuer, 'CN=gantry-control-plane', keys.publicKey);
  const key = x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
  const unused = () => Promise.reject(new GantryError(Code.unimplemented, 'not here'));
  const stream = async function* () {
    yield* [];
  };
  const service = implement(
    AgentsService,
    {
      enroll: async ({ csr, secret }) => {
        calls.push({ kind: 'enroll', secret });
        return await answer(csr);
      },
      renew: async ({ csr }) => {
        calls.push({ kind: 'renew', secret: '' });
        return await answer(csr);
      },
      getFile: unused,
      pullStream: unused,
      session: stream,
      logStream: stream,
      execStream: stream,
    },
    { authorize: () => undefined, onFailure: () => {} },
  );
  const listening = new Server();
  listening.addService(service.definition, service.implementation);
  const pem = Buffer.from(issuer.certificate.toString('pem'));
  const credentials = ServerCredentials.createSsl(pem, [{ private_key: Buffer.from(key), cert_chain: Buffer.from(certificate) }], false);
  const port = await new Promise<number>((resolve, reject) => {
    listening.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  address = `127.0.0.1:${port}`;
  return listening;
}

function identity(token = `gantry1.${pin}.0123456789.secret`, clock: ManualClock | typeof systemClock = systemClock): NodeIdentity {
  const made = new NodeIdentity({
    folder,
    node: 'n1',
    addresses: [address],
    token: async () => token,
    clock,
    log: silentLogger(),
    random: () => 0,
  });
  identities.push(made);
  return made;
}

beforeAll(async () => {
  ca = await newCa();
  pin = pinOf(new X509Certificate(ca.certificate.toString('pem')));
  server = await listen(ca);
});

afterAll(() => server.forceShutdown());

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'gantry-agent-identity-')), 'identity');
  calls.length = 0;
});

afterEach(() => {
  for (const one of identities.splice(0)) one.close();
  rmSync(join(folder, '..'), { recursive: true, force: true });
});

test('a request names the node and is signed with its own key', async () => {
  const request = new x509.Pkcs10CertificateRequest(certificateRequest('node-1', newKey()));
  expect(request.subject).toBe('CN=node-1');
  expect(await request.verify()).toBe(true);
});

test('the first start enrolls with the token, later ones read the disk', async () => {
  const first = identity();
  await first.open();
  expect(calls).toEqual([{ kind: 'enroll', secret: 'secret' }]);
  expect(new X509Certificate(first.tls.certificate).subject).toBe('CN=n1');
  for (const name of ['ca.pem', 'node.pem', 'node.key']) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  const second = identity('no token at all');
  await second.open();
  expect(second.tls).toEqual(first.tls);
  expect(calls).toHaveLength(1);
});

test('a server whose CA is not the pinned one never sees the secret', async () => {
  const impostor = await listen(await newCa());
  await expect(identity().open()).rejects.toMatchObject({ code: Code.unauthenticated });
  impostor.forceShutdown();
  expect(calls).toEqual([]);
  server.forceShutdown();
  server = await listen(ca);
});

test('nobody at the address is an error that may pass', async () => {
  const nobody = new NodeIdentity({
    folder,
    node: 'n1',
    addresses: ['127.0.0.1:1'],
    token: async () => `gantry1.${pin}.0123456789.secret`,
    clock: systemClock,
    log: silentLogger(),
    random: () => 0,
  });
  await expect(nobody.open()).rejects.toMatchObject({ code: Code.unavailable, retryable: true });
});

test('renewal replaces key and certificate and shows no secret', async () => {
  const node = identity();
  await node.open();
  const before = node.tls;
  await node.renew();
  expect(calls.at(-1)).toEqual({ kind: 'renew', secret: '' });
  expect(node.tls.key).not.toBe(before.key);
  expect(readFileSync(join(folder, 'node.key'), 'utf8')).toBe(node.tls.key);
});

test('it renews by itself at two thirds of the life', async () => {
  const clock = new ManualClock(Date.now() * 1000);
  const node = identity(undefined, clock);
  await node.open();
  const { certificate } = node.tls;
  await clock.advance(16 * hourMs - 60_000);
  expect(calls).toHaveLength(1);
  await clock.advance(120_000);
  await expect.poll(() => node.tls.certificate !== certificate).toBe(true);
});

test('a renewal that was cut off between its files is finished at the next start', async () => {
  const node = identity();
  await node.open();
  const old = node.tls;
  await node.renew();
  writeFileSync(join(folder, 'next.pem'), node.tls.key + node.tls.certificate);
  writeFileSync(join(folder, 'node.pem'), old.certificate);
  const next = identity('no token at all');
  await next.open();
  expect(next.tls).toEqual(node.tls);
});

test('a damaged identity is enrolled anew', async () => {
  await identity().open();
  truncateSync(join(folder, 'node.key'), 10);
  await identity().open();
  expect(calls.map(({ kind }) => kind)).toEqual(['enroll', 'enroll']);
  expect(existsSync(join(folder, 'next.pem'))).toBe(false);
});

test.each([
  '',
  'gantry1',
  'gantry1.a.b.c',
  `gantry2.${'a'.repeat(43)}.b.c`,
  `gantry1.${'a'.repeat(43)}.b.`,
  `gantry1.${'a'.repeat(43)}.b.c d`,
])('the token "%s" is refused without being repeated', (text) => {
  expect(() => parseToken(text)).toThrow('cannot read the join token: must be "gantry1.<pin>.<id>.<secret>"');
});
