import { createSocket, type Socket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, silentLogger, systemClock } from '@gantry/common';
import { Endpoint, ServiceEndpoints, ServiceKey } from '@gantry/proto';
import dnsPacket from 'dns-packet';
import { afterEach, expect, test } from 'vitest';
import { DnsServer } from './dns.ts';
import { DnsForwarder, frame, readResolvers } from './dns-forward.ts';
import { ServiceNames } from './service-names.ts';

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function namesOf(...addresses: string[]): ServiceNames {
  const key = ServiceKey.create({ namespace: 'default', app: 'shop', service: 'web' });
  return new ServiceNames('gantry.internal', [
    ServiceEndpoints.create({ key, endpoints: addresses.map((address) => Endpoint.create({ address })) }),
  ]);
}

function encode(name: string): Buffer {
  return dnsPacket.encode({ type: 'query', id: 5, flags: dnsPacket.RECURSION_DESIRED, questions: [{ name, type: 'A' }] });
}

/** A resolver of the outside, by UDP and TCP, that knows every name as 9.9.9.9. */
async function startUpstream(): Promise<{ port: number; udp: Socket; asked: () => number }> {
  let asked = 0;
  const answer = (message: Buffer) => {
    asked++;
    const query = dnsPacket.decode(message);
    const [question] = query.questions ?? [];
    return dnsPacket.encode({
      type: 'response',
      id: query.id ?? 0,
      questions: question ? [question] : [],
      answers: [{ type: 'A', name: question?.name ?? '', ttl: 1, data: '9.9.9.9' }],
    });
  };
  const udp = createSocket('udp4');
  udp.on('message', (message, from) => udp.send(answer(message), from.port, from.address));
  await new Promise<void>((resolve) => void udp.bind(0, '127.0.0.1', () => resolve()));
  const tcp: Server = createServer((socket) => socket.on('data', (bytes) => socket.write(frame(answer(bytes.subarray(2))))));
  await new Promise<void>((resolve) => void tcp.listen(udp.address().port, '127.0.0.1', () => resolve()));
  cleanups.push(() => {
    udp.close();
    tcp.close();
  });
  return { port: udp.address().port, udp, asked: () => asked };
}

async function startServer(upstreamPort: number, options: { timeoutMs?: number; maxPending?: number } = {}): Promise<DnsServer> {
  const forwarder = new DnsForwarder({ clock: systemClock, resolvers: ['127.0.0.1'], port: upstreamPort, timeoutMs: 300, ...options });
  const asker = { namespace: 'default', app: 'shop' };
  const server = new DnsServer(
    { address: '127.0.0.1', port: 0, log: silentLogger(), forwarder, askerOf: () => asker, random: () => 0 },
    namesOf('10.0.0.1'),
  );
  await server.listen();
  cleanups.push(() => server.close());
  return server;
}

async function askByUdp(port: number, message: Buffer): Promise<dnsPacket.DecodedPacket> {
  const socket = createSocket('udp4');
  try {
    const reply = new Promise<Buffer>((resolve) => socket.once('message', resolve));
    socket.send(message, port, '127.0.0.1');
    return dnsPacket.decode(await reply);
  } finally {
    socket.close();
  }
}

async function askByTcp(port: number, ...pieces: Buffer[]): Promise<dnsPacket.DecodedPacket> {
  const socket = connect(port, '127.0.0.1');
  try {
    socket.setNoDelay(true);
    for (const piece of pieces) await new Promise<void>((resolve) => void socket.write(piece, () => resolve()));
    const bytes = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
    return dnsPacket.decode(bytes.subarray(2));
  } finally {
    socket.destroy();
  }
}

const dataOf = (packet: dnsPacket.DecodedPacket) => packet.answers?.map((answer) => (answer as { data: string }).data);

test('own names are answered from the newest table by UDP and TCP', async () => {
  const upstream = await startUpstream();
  const server = await startServer(upstream.port);
  expect(dataOf(await askByUdp(server.port, encode('web')))).toEqual(['10.0.0.1']);
  server.setNames(namesOf('10.0.0.2'));
  expect(dataOf(await askByTcp(server.port, frame(encode('web'))))).toEqual(['10.0.0.2']);
  expect(upstream.asked()).toBe(0);
  expect(server.counts).toEqual({ answered: 2, forwarded: 0 });
});

test('a query by TCP may come in pieces', async () => {
  const server = await startServer(1);
  const bytes = frame(encode('web'));
  expect(dataOf(await askByTcp(server.port, bytes.subarray(0, 1), bytes.subarray(1, 9), bytes.subarray(9)))).toEqual(['10.0.0.1']);
});

test('foreign names are forwarded with an id of our own and answered with the asker’s', async () => {
  const upstream = await startUpstream();
  const server = await startServer(upstream.port);
  const ids: number[] = [];
  upstream.udp.on('message', (message) => ids.push(message.readUInt16BE(0)));
  for (let round = 0; round < 4; round++) {
    expect(await askByUdp(server.port, encode('example.com'))).toMatchObject({ id: 5, answers: [{ data: '9.9.9.9' }] });
  }
  expect(new Set(ids).size).toBeGreaterThan(1);
  expect(dataOf(await askByTcp(server.port, frame(encode('example.com'))))).toEqual(['9.9.9.9']);
});

test('a resolver that does not answer gives a server failure in time', async () => {
  const silent = createSocket('udp4');
  await new Promise<void>((resolve) => void silent.bind(0, '127.0.0.1', () => resolve()));
  cleanups.push(() => void silent.close());
  const server = await startServer(silent.address().port, { timeoutMs: 30 });
  expect(await askByUdp(server.port, encode('example.com'))).toMatchObject({ id: 5, rcode: 'SERVFAIL' });
});

test('queries that wait are bounded', async () => {
  const silent = createSocket('udp4');
  await new Promise<void>((resolve) => void silent.bind(0, '127.0.0.1', () => resolve()));
  cleanups.push(() => void silent.close());
  const forwarder = new DnsForwarder({
    clock: systemClock,
    resolvers: ['127.0.0.1'],
    port: silent.address().port,
    timeoutMs: 50,
    maxPending: 2,
  });
  const waiting = [forwarder.ask(encode('a.example'), false), forwarder.ask(encode('b.example'), false)];
  await expect(forwarder.ask(encode('c.example'), false)).rejects.toMatchObject({ code: Code.resourceExhausted });
  for (const query of waiting) await expect(query).rejects.toMatchObject({ code: Code.unavailable });
});

test('an address in use is an error', async () => {
  const server = await startServer(1);
  const forwarder = new DnsForwarder({ clock: systemClock, resolvers: [] });
  const options = { address: '127.0.0.1', port: server.port, log: silentLogger(), forwarder, askerOf: () => undefined, random: () => 0 };
  await expect(new DnsServer(options, namesOf()).listen()).rejects.toMatchObject({ code: Code.unavailable });
});

test('resolvers are read in order without ourselves, at most three, and a missing file has none', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dns-test-'));
  cleanups.push(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'resolv.conf');
  const lines = ['# nameserver 1.1.1.1', 'nameserver 10.64.1.1', ' nameserver 2.2.2.2', 'nameserver fe80::1', 'search x', 'options a'];
  writeFileSync(path, [...lines, 'nameserver 3.3.3.3', 'nameserver 4.4.4.4', 'nameserver 5.5.5.5'].join('\n'));
  expect(readResolvers(path, '10.64.1.1')).toEqual(['2.2.2.2', '3.3.3.3', '4.4.4.4']);
  expect(readResolvers(join(folder, 'none'), '')).toEqual([]);
});
