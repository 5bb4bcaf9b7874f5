import dnsPacket, { type Packet, type Question } from 'dns-packet';
import type { Asker, ServiceNames } from './service-names.ts';

/** Seconds that a resolver may keep an answer: endpoints change within seconds. */
const ttlSeconds = 2;
/** Largest answer by UDP without an agreement on more (RFC 1035). */
const plainUdpBytes = 512;

const authoritative = 1 << 10;
const recursionDesired = 1 << 8;
const recursionAvailable = 1 << 7;

/** RFC 1035 section 4.1.1. */
export const ResponseCode = { noError: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4 } as const;

/** What is to be done about a query. */
export type DnsDecision =
  | { kind: 'answer'; message: Buffer }
  /** Somebody else's name. */
  | { kind: 'forward' }
  /** Not a query at all: no answer, so that two servers never answer each other. */
  | { kind: 'drop' };

export interface DnsQuery {
  message: Buffer;
  /** By UDP an answer must be short; by TCP it may have 64 KiB. */
  tcp: boolean;
}

/** The context in which a query is decided. */
export interface DnsContext {
  names: ServiceNames;
  /** The app of the asking container, when it is one of this node's. */
  asker: Asker | undefined;
  /** 0..1: where the rotation of the addresses begins. */
  random: number;
}

/** Decides about one query: our own names are answered, others forwarded. */
export function decide(query: DnsQuery, context: DnsContext): DnsDecision {
  const packet = decode(query.message);
  if (packet === undefined) return query.message.length < 12 ? { kind: 'drop' } : fail(query.message, ResponseCode.formatError);
  if (packet.type !== 'query') return { kind: 'drop' };
  const [question] = packet.questions ?? [];
  if (packet.opcode !== 'QUERY') return fail(query.message, ResponseCode.notImplemented);
  if (question === undefined || packet.questions?.length !== 1) return fail(query.message, ResponseCode.formatError);
  const found = context.names.resolve(question.name, context.asker);
  if (found.kind === 'foreign') return { kind: 'forward' };
  const addresses = found.kind === 'addresses' && question.type === 'A' ? rotate(found.addresses, context.random) : [];
  const code = found.kind === 'unknown' ? ResponseCode.nameError : ResponseCode.noError;
  return { kind: 'answer', message: encodeAnswer(packet, question, { addresses, code, limit: limitOf(packet, query.tcp) }) };
}

interface DecodedPacket extends Packet {
  opcode?: string;
}

function decode(message: Buffer): DecodedPacket | undefined {
  try {
    return dnsPacket.decode(message);
  } catch {
    return undefined;
  }
}

/** How much the asker takes: by UDP what its EDNS record says, up to what passes unfragmented. */
function limitOf(packet: Packet, tcp: boolean): number {
  if (tcp) return 65_535;
  const edns = packet.additionals?.find((record) => record.type === 'OPT') as { udpPayloadSize?: number } | undefined;
  return Math.min(Math.max(edns?.udpPayloadSize ?? 0, plainUdpBytes), 1232);
}

function rotate<T>(items: readonly T[], random: number): T[] {
  const start = Math.floor(random * items.length);
  return [...items.slice(start), ...items.slice(0, start)];
}

interface AnswerContent {
  addresses: readonly string[];
  code: number;
  limit: number;
}

/** As many addresses as fit: they are all alike, so a part of them is an answer and not a cut one. */
function encodeAnswer(packet: DecodedPacket, question: Question, { addresses, code, limit }: AnswerContent): Buffer {
  const flags = authoritative | recursionAvailable | ((packet.flags ?? 0) & recursionDesired) | code;
  const record = (data: string) => ({ type: 'A' as const, class: 'IN' as const, name: question.name, ttl: ttlSeconds, data });
  const recordBytes = question.name.length + 2 + 10 + 4;
  const fitting = Math.max(1, Math.floor((limit - 12 - question.name.length - 2 - 4) / recordBytes));
  const answers = addresses.slice(0, fitting).map(record);
  return dnsPacket.encode({ type: 'response', id: packet.id ?? 0, flags, questions: [question], answers });
}

/** A bare header with an error; works on what could not be read otherwise. */
function fail(message: Buffer, code: number): DnsDecision {
  return { kind: 'answer', message: failure(message, code) };
}

/** The answer that a query could not be served. */
export function failure(message: Buffer, code: number): Buffer {
  const header = Buffer.alloc(12);
  message.copy(header, 0, 0, 2);
  const desired = (message[2] ?? 0) & (recursionDesired >> 8);
  header.writeUInt8(0x80 | desired, 2);
  header.writeUInt8(recursionAvailable | code, 3);
  return header;
}
