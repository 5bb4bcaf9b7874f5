import { Endpoint, ServiceEndpoints, ServiceKey } from '@gantry/proto';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type DnsDecision, decide, failure, ResponseCode } from './dns-answer.ts';
import { ServiceNames } from './service-names.ts';

const asker = { namespace: 'default', app: 'shop' };

function namesOf(addresses: readonly string[]): ServiceNames {
  const key = ServiceKey.create({ namespace: 'default', app: 'shop', service: 'web' });
  const endpoints = addresses.map((address, index) => Endpoint.create({ address, slot: index + 1 }));
  return new ServiceNames('gantry.internal', [ServiceEndpoints.create({ key, endpoints })]);
}

const context = { names: namesOf(['10.0.0.1', '10.0.0.2', '10.0.0.3']), asker, random: 0 };

function query(name: string, type: 'A' | 'AAAA' | 'MX' = 'A'): Buffer {
  return dnsPacket.encode({ type: 'query', id: 77, flags: dnsPacket.RECURSION_DESIRED, questions: [{ name, type, class: 'IN' }] });
}

function answerOf(decision: DnsDecision) {
  if (decision.kind !== 'answer') throw new Error(`no answer but ${decision.kind}`);
  const packet = dnsPacket.decode(decision.message) as dnsPacket.DecodedPacket & { rcode: string };
  return { ...packet, addresses: packet.answers?.map((record) => (record as { data: string }).data) };
}

test('addresses of a service come with a short life and the question', () => {
  const answer = answerOf(decide({ message: query('web'), tcp: false }, context));
  expect(answer).toMatchObject({ id: 77, type: 'response', rcode: 'NOERROR', flag_aa: true, flag_rd: true, flag_ra: true });
  expect(answer.questions).toMatchObject([{ name: 'web', type: 'A' }]);
  expect(answer.addresses).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
  expect(answer.answers?.[0]).toMatchObject({ ttl: 2 });
});

test('the order of the addresses turns', () => {
  const first = [0, 0.34, 0.67, 0.99].map((random) => {
    const { addresses } = answerOf(decide({ message: query('web'), tcp: false }, { ...context, random }));
    expect(addresses?.toSorted()).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    return addresses?.[0];
  });
  expect(first).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.3']);
});

test('a known name asked for another type is empty, an unknown one does not exist', () => {
  expect(answerOf(decide({ message: query('web', 'AAAA'), tcp: false }, context))).toMatchObject({ rcode: 'NOERROR', addresses: [] });
  expect(answerOf(decide({ message: query('x.shop.gantry.internal'), tcp: false }, context))).toMatchObject({ rcode: 'NXDOMAIN' });
});

test('foreign names are forwarded and answers are never answered', () => {
  expect(decide({ message: query('example.com'), tcp: false }, context).kind).toBe('forward');
  const answer = dnsPacket.encode({ type: 'response', id: 1, questions: [{ name: 'web', type: 'A' }] });
  expect(decide({ message: answer, tcp: false }, context).kind).toBe('drop');
});

test('a plain UDP answer stays within 512 bytes, one with EDNS within 1232, one by TCP holds all', () => {
  const many = namesOf(Array.from({ length: 100 }, (_, index) => `10.0.1.${index + 1}`));
  const plain = decide({ message: query('web.shop.gantry.internal'), tcp: false }, { ...context, names: many });
  expect(answerOf(plain).addresses?.length).toBeGreaterThan(5);
  expect((plain as { message: Buffer }).message.length).toBeLessThanOrEqual(512);
  const edns = dnsPacket.encode({
    type: 'query',
    id: 1,
    questions: [{ name: 'web', type: 'A' }],
    additionals: [
      { type: 'OPT', name: '.', udpPayloadSize: 4096, extendedRcode: 0, ednsVersion: 0, flags: 0, flag_do: false, options: [] },
    ],
  });
  const larger = decide({ message: edns, tcp: false }, { ...context, names: many });
  expect(answerOf(larger).addresses?.length).toBeGreaterThan(50);
  expect((larger as { message: Buffer }).message.length).toBeLessThanOrEqual(1232);
  expect(answerOf(decide({ message: query('web'), tcp: true }, { ...context, names: many })).addresses).toHaveLength(100);
});

test('several questions, other opcodes and rubbish get an error with the query’s id', () => {
  const two = dnsPacket.encode({
    type: 'query',
    id: 9,
    questions: [
      { name: 'web', type: 'A' },
      { name: 'db', type: 'A' },
    ],
  });
  expect(answerOf(decide({ message: two, tcp: false }, context))).toMatchObject({ id: 9, rcode: 'FORMERR' });
  const status = query('web');
  status.writeUInt8(0x10, 2);
  expect(answerOf(decide({ message: status, tcp: false }, context))).toMatchObject({ id: 77, rcode: 'NOTIMP' });
  expect(decide({ message: Buffer.from([1, 2, 3]), tcp: false }, context).kind).toBe('drop');
});

test('no datagram makes it throw or answer at length', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.boolean(), (bytes, tcp) => {
      const decision = decide({ message: Buffer.from(bytes), tcp }, context);
      if (decision.kind === 'answer' && !tcp) expect(decision.message.length).toBeLessThanOrEqual(1232);
    }),
    { numRuns: 2000 },
  );
});

test('a failure says so under the query’s id', () => {
  const message = failure(query('web'), ResponseCode.serverFailure);
  expect(dnsPacket.decode(message)).toMatchObject({ id: 77, rcode: 'SERVFAIL', flag_rd: true });
});
