import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, ManualClock } from '@gantry/common';
import { EnrollRequest, JoinToken, Machine, NodeSettings, RenewRequest } from '@gantry/proto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { keys } from '../store/keys.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { createAuthenticator, type NodeRegistry } from './authn.ts';
import { type CertificateAuthority, openAuthority } from './ca.ts';
import { type Context, ensureContextFile } from './context-file.ts';
import { createEnrolment, type Enrolment, nodeCertificateMs } from './enrolment.ts';
import { createSealer } from './sealer.ts';
import { issueServerIdentity, readServerIdentity } from './server-identity.ts';
import { createTokens, type Tokens } from './tokens.ts';
import { loadX509 } from './x509.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
let store: MemoryStore;
let clock: ManualClock;
let authority: CertificateAuthority;
let tokens: Tokens;
let enrolment: Enrolment;
let csr: Uint8Array;
let folder = '';

async function makeCsr(): Promise<Uint8Array> {
  const x509 = await loadX509();
  const keyPair = await crypto.subtle.generateKey(algorithm, false, ['sign', 'verify']);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ name: 'CN=whatever', keys: keyPair, signingAlgorithm: algorithm });
  return new Uint8Array(request.rawData);
}

/** What the view does in the program: the node records of the store. */
async function registry(): Promise<NodeRegistry> {
  const records = new Map<string, NodeSettings>();
  for (const item of (await store.list('/gantry/v1/nodes/')).items) {
    const settings = NodeSettings.decode(item.value);
    records.set(settings.name, settings);
  }
  return { ready: true, settings: (name) => records.get(name) };
}

function der(pem: string): Buffer {
  return new X509Certificate(pem).raw;
}

beforeAll(async () => {
  csr = await makeCsr();
  folder = await mkdtemp(join(tmpdir(), 'gantry-security-'));
});
afterAll(() => rm(folder, { recursive: true }));

beforeEach(async () => {
  store = new MemoryStore();
  clock = new ManualClock(Date.now() * 1000);
  authority = await openAuthority({ store, sealer: createSealer(Buffer.alloc(32, 7)), nowUs: clock.nowUs() });
  tokens = createTokens({ store, clock, pin: authority.pin });
  enrolment = createEnrolment({ store, clock, authority, tokens });
});

async function requestFor(node: string, uses = 1): Promise<EnrollRequest> {
  const { token } = await tokens.create({ uses });
  const [, , tokenId, secret] = token.split('.');
  return EnrollRequest.create({ tokenId: tokenId!, secret: secret!, node, csr });
}

test('two control planes that start together share one CA, and its key is not in the store in the clear', async () => {
  const fresh = new MemoryStore();
  const sealer = createSealer(Buffer.alloc(32, 7));
  const both = await Promise.all([1, 2].map(() => openAuthority({ store: fresh, sealer, nowUs: clock.nowUs() })));
  expect(both[0]!.certificate).toBe(both[1]!.certificate);
  await expect(Promise.all(both.map((one) => one.issuer()))).resolves.toHaveLength(2);
  const other = await openAuthority({ store: fresh, sealer: createSealer(Buffer.alloc(32, 8)), nowUs: clock.nowUs() });
  await expect(other.issuer()).rejects.toMatchObject({ code: Code.dataLoss });
});

test('a token buys one certificate for the node it names, and only its hash is stored', async () => {
  const request = await requestFor('n1');
  const stored = (await store.get(keys.token(request.tokenId)))!;
  expect(Buffer.from(stored.value).includes(request.secret)).toBe(false);
  const { response, revision } = await enrolment.enroll(request);
  expect(revision).toBeGreaterThan(0);
  const certificate = new X509Certificate(response.certificate);
  expect(certificate.verify(new X509Certificate(response.ca).publicKey)).toBe(true);
  expect(certificate.subject).toContain('CN=n1');
  expect(Math.abs(response.expiresAt - clock.nowUs() - nodeCertificateMs * 1000)).toBeLessThan(2_000_000);
  expect(createAuthenticator({ ca: response.ca, clock, nodes: await registry() })(certificate.raw)).toEqual({ kind: 'node', name: 'n1' });
  await expect(enrolment.enroll({ ...request, node: 'n2' })).rejects.toMatchObject({ code: Code.unauthenticated });
});

test('of many that use the last use of a token together, exactly as many get in as it has uses', async () => {
  const request = await requestFor('n', 3);
  const results = await Promise.allSettled([1, 2, 3, 4].map((index) => enrolment.enroll({ ...request, node: `n${index}` })));
  const entered = results.filter((result) => result.status === 'fulfilled').length;
  expect(entered).toBeLessThanOrEqual(3);
  expect(entered).toBeGreaterThan(0);
  const left = await store.get(keys.token(request.tokenId));
  expect(left ? JoinToken.decode(left.value).usesLeft : 0).toBe(3 - entered);
});

test('an expired or revoked token, a wrong secret and a strange id are refused without a trace', async () => {
  const request = await requestFor('n1');
  const before = await store.revision();
  await expect(enrolment.enroll({ ...request, secret: 'guess' })).rejects.toMatchObject({ code: Code.unauthenticated });
  await expect(enrolment.enroll({ ...request, tokenId: '../nodes/x' })).rejects.toMatchObject({ code: Code.unauthenticated });
  await clock.advance(3_600_001);
  await expect(enrolment.enroll(request)).rejects.toMatchObject({ code: Code.unauthenticated });
  expect(await store.revision()).toBe(before);
  await tokens.revoke(request.tokenId);
  await expect(tokens.revoke(request.tokenId)).rejects.toMatchObject({ code: Code.notFound });
  await expect(enrolment.enroll(request)).rejects.toMatchObject({ code: Code.unauthenticated });
});

test('bad names and requests not signed by their own key are refused before the token is spent', async () => {
  const request = await requestFor('n1');
  for (const node of ['', 'N1', '../n', 'a'.repeat(64), 'n\u0000']) {
    await expect(enrolment.enroll({ ...request, node })).rejects.toMatchObject({ code: Code.invalidArgument });
  }
  const forged = Uint8Array.from(csr);
  forged[forged.length - 1]! ^= 1;
  for (const bad of [new Uint8Array(), new Uint8Array(5000), Uint8Array.from([1, 2, 3]), forged]) {
    await expect(enrolment.enroll({ ...request, csr: bad })).rejects.toMatchObject({ code: Code.invalidArgument });
  }
  await expect(enrolment.enroll(request)).resolves.toBeDefined();
});

test('the name of a connected node cannot be taken; a lost one enrolls again and its old certificate ends', async () => {
  const { response: first } = await enrolment.enroll(await requestFor('n1'));
  const connected = Machine.create({ name: 'n1', gateway: 'g1' });
  await store.transact({ compare: [], writes: [{ kind: 'put', key: keys.machine('n1'), value: Machine.encode(connected) }] });
  await expect(enrolment.enroll(await requestFor('n1'))).rejects.toMatchObject({ code: Code.alreadyExists });
  const lost = { ...connected, lostAt: clock.nowUs() };
  await store.transact({ compare: [], writes: [{ kind: 'put', key: keys.machine('n1'), value: Machine.encode(lost) }] });
  const { response: second } = await enrolment.enroll(await requestFor('n1'));
  const authenticate = createAuthenticator({ ca: authority.certificate, clock, nodes: await registry() });
  expect(authenticate(der(second.certificate))).toMatchObject({ name: 'n1' });
  expect(() => authenticate(der(first.certificate))).toThrow('enrolled again');
});

test('a renewed certificate and the one before are both good; a removed node is refused on the next call', async () => {
  const { response: first } = await enrolment.enroll(await requestFor('n1'));
  const renewed = await enrolment.renew('n1', RenewRequest.create({ csr }));
  const records = new Map([['n1', (await registry()).settings('n1')!]]);
  const authenticate = createAuthenticator({
    ca: authority.certificate,
    clock,
    nodes: { ready: true, settings: (name) => records.get(name) },
  });
  expect(authenticate(der(first.certificate))).toMatchObject({ name: 'n1' });
  expect(authenticate(der(renewed.certificate))).toMatchObject({ name: 'n1' });
  records.set('n1', { ...records.get('n1')!, removed: true });
  expect(() => authenticate(der(renewed.certificate))).toThrow('has been removed');
  records.delete('n1');
  expect(() => authenticate(der(renewed.certificate))).toThrow('has been removed');
  await expect(enrolment.renew('n2', RenewRequest.create({ csr }))).rejects.toMatchObject({ code: Code.unauthenticated });
});

test('while the nodes are not known yet a node is asked to come again, not turned away', async () => {
  const { response } = await enrolment.enroll(await requestFor('n1'));
  const authenticate = createAuthenticator({ ca: authority.certificate, clock, nodes: { ready: false, settings: () => undefined } });
  expect(() => authenticate(der(response.certificate))).toThrow(expect.objectContaining({ code: Code.unavailable }));
});

test('a certificate that has expired since it was first seen is refused, and so is one of another CA', async () => {
  const { response } = await enrolment.enroll(await requestFor('n1'));
  const authenticate = createAuthenticator({ ca: authority.certificate, clock, nodes: await registry() });
  expect(authenticate(der(response.certificate))).toMatchObject({ name: 'n1' });
  const other = await openAuthority({ store: new MemoryStore(), sealer: createSealer(Buffer.alloc(32, 9)), nowUs: clock.nowUs() });
  expect(() =>
    createAuthenticator({ ca: other.certificate, clock, nodes: { ready: true, settings: () => undefined } })(der(response.certificate)),
  ).toThrow('signed by the CA');
  await clock.advance(nodeCertificateMs);
  expect(() => authenticate(der(response.certificate))).toThrow('expired');
  expect(authenticate(undefined)).toEqual({ kind: 'anonymous' });
});

test('the context file is written once, 0600, for an operator, and written anew for another CA', async () => {
  const path = join(folder, 'deep', 'context.json');
  const answers = async (address: string) => address === '127.0.0.1:7400';
  await ensureContextFile({ path, authority, clock, address: '127.0.0.1:7400', answers });
  const text = await readFile(path, 'utf8');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const context = JSON.parse(text) as Context;
  const authenticate = createAuthenticator({ ca: authority.certificate, clock, nodes: await registry() });
  expect(authenticate(der(context.certificate))).toEqual({ kind: 'user', name: 'local', namespace: '*' });
  await ensureContextFile({ path, authority, clock, address: '127.0.0.1:7400', answers });
  expect(await readFile(path, 'utf8')).toBe(text);
  await ensureContextFile({ path, authority, clock, address: '127.0.0.1:7500', answers });
  expect(await readFile(path, 'utf8')).toBe(text);
  await ensureContextFile({ path, authority, clock, address: '127.0.0.1:7500', answers: async () => false });
  expect((JSON.parse(await readFile(path, 'utf8')) as Context).address).toBe('127.0.0.1:7500');
  const other = await openAuthority({ store: new MemoryStore(), sealer: createSealer(Buffer.alloc(32, 9)), nowUs: clock.nowUs() });
  await ensureContextFile({ path, authority: other, clock, address: '127.0.0.1:7400', answers });
  expect((JSON.parse(await readFile(path, 'utf8')) as Context).ca).toBe(other.certificate);
});

test('the server certificate is read back until a third of its life is left', async () => {
  const path = join(folder, 'server.json');
  expect(await readServerIdentity(path, clock, [])).toBeUndefined();
  const made = await issueServerIdentity({ authority, clock, path, hosts: ['10.0.0.1', 'control.example'] });
  expect(new X509Certificate(made.certificate).subjectAltName).toBe(
    'DNS:gantry-control-plane, DNS:localhost, DNS:control.example, IP Address:127.0.0.1, IP Address:10.0.0.1',
  );
  expect(await readServerIdentity(path, clock, ['10.0.0.1', 'control.example'])).toEqual(made);
  expect(await readServerIdentity(path, clock, ['10.0.0.2'])).toBeUndefined();
  await clock.advance(21 * 86_400_000);
  expect(await readServerIdentity(path, clock, [])).toBeUndefined();
});
