import { ManualClock } from '@gantry/common';
import { connect, createClient, EventsService, implement, ListEventsRequest, ListEventsResponse, type TlsFiles } from '@gantry/proto';
import { Server } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCa, type Issuer, importCaKey, issueWithKey, organizations } from './certificates.ts';
import { createServerCredentials, type RotatingCredentials } from './server-credentials.ts';

const clock = new ManualClock(Date.now() * 1000);
const server = new Server();
let issuer: Issuer;
let rotating: RotatingCredentials;
let address = '';

async function newIssuer(): Promise<Issuer> {
  const ca = await createCa(clock.nowUs());
  return { certificate: ca.certificate, key: await importCaKey(ca.key) };
}

async function serverIdentity(serial: string) {
  const issued = await issueWithKey(issuer, {
    organization: organizations.server,
    organizationalUnit: 'x',
    commonName: 'gantry-control-plane',
    usage: 'server',
    dnsNames: ['gantry-control-plane'],
    lifetimeMs: 60_000,
    nowUs: clock.nowUs(),
    serial,
  });
  return { ca: issuer.certificate, ...issued };
}

async function client(by: Issuer, lifetimeMs = 60_000): Promise<TlsFiles> {
  const issued = await issueWithKey(by, {
    organization: organizations.user,
    organizationalUnit: '*',
    commonName: 'ann',
    usage: 'client',
    lifetimeMs,
    nowUs: clock.nowUs(),
  });
  return { ca: issuer.certificate, ...issued };
}

/** The subject that the server's handlers see. */
async function seenBy(tls: TlsFiles): Promise<string> {
  const connection = connect({ address, tls });
  try {
    const answer = await createClient(EventsService, connection).list(ListEventsRequest.create(), { deadlineMs: 3000 });
    return answer.nextToken;
  } finally {
    connection.close();
  }
}

beforeAll(async () => {
  issuer = await newIssuer();
  rotating = createServerCredentials(await serverIdentity('41'.repeat(16)));
  const { definition, implementation } = implement(
    EventsService,
    {
      list: async (_request, context) => ListEventsResponse.create({ nextToken: context.certificate ? 'certified' : 'anonymous' }),
      watch: async function* () {},
    },
    { authorize: () => undefined, onFailure: () => {} },
  );
  server.addService(definition, implementation);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', rotating.credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  address = `127.0.0.1:${port}`;
});
afterAll(() => server.forceShutdown());

test('a client of the CA is seen with its certificate, one without any as anonymous, on the same port', async () => {
  expect(await seenBy(await client(issuer))).toBe('certified');
  expect(await seenBy({ ca: issuer.certificate })).toBe('anonymous');
});

test('a certificate of a strange CA or one that has expired never reaches a handler as a certificate', async () => {
  for (const tls of [await client(await newIssuer()), await client(issuer, -1000)]) {
    const seen = await seenBy(tls).catch(() => 'refused');
    expect(['anonymous', 'refused']).toContain(seen);
  }
});

test('a replaced server certificate is shown to new connections', async () => {
  const before = issuer;
  issuer = await newIssuer();
  await expect(seenBy({ ca: issuer.certificate })).rejects.toThrow();
  rotating.replace(await serverIdentity('42'.repeat(16)));
  expect(await seenBy(await client(issuer))).toBe('certified');
  await expect(seenBy({ ca: before.certificate })).rejects.toThrow();
});
