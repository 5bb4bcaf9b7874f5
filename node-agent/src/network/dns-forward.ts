import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { type Clock, Code, GantryError } from '@gantry/common';

export interface ForwarderOptions {
  clock: Clock;
  /** Addresses of the host's resolvers, in their order. */
  resolvers: readonly string[];
  port?: number;
  /** How long one resolver has; default 2 s. */
  timeoutMs?: number;
  /** Most queries under way; default 256. */
  maxPending?: number;
}

/** The resolvers of a resolv.conf, without those that would lead back to us. */
export function readResolvers(path: string, except: string): string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    // a host without the file resolves nothing either
    return [];
  }
  const found = [...text.matchAll(/^\s*nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$/gm)].map((match) => match[1] ?? '');
  return found.filter((address) => address !== except).slice(0, 3);
}

/** Asks the host's resolvers about names that are not ours. */
export class DnsForwarder {
  readonly #options: Required<ForwarderOptions>;
  #pending = 0;

  constructor(options: ForwarderOptions) {
    this.#options = { port: 53, timeoutMs: 2000, maxPending: 256, ...options };
  }

  /**
   * The first answer of a resolver, asked one after another.
   * @throws GantryError `unavailable` when none answers, `resourceExhausted` when too many queries are under way.
   */
  async ask(message: Buffer, tcp: boolean): Promise<Buffer> {
    if (this.#pending >= this.#options.maxPending) {
      throw new GantryError(Code.resourceExhausted, `cannot forward: at most ${this.#options.maxPending} queries may wait`);
    }
    this.#pending++;
    try {
      for (const resolver of this.#options.resolvers) {
        const answer = await (tcp ? this.#byTcp(message, resolver) : this.#byUdp(message, resolver));
        if (answer !== undefined) return answer;
      }
      throw new GantryError(Code.unavailable, `cannot forward: none of ${this.#options.resolvers.length} resolvers answers`);
    } finally {
      this.#pending--;
    }
  }

  /** A socket of its own, thus a port of its own, and an id of our choice: hard to guess for a forger. */
  #byUdp(message: Buffer, resolver: string): Promise<Buffer | undefined> {
    const { clock, timeoutMs, port } = this.#options;
    const query = Buffer.from(message);
    const id = randomInt(65_536);
    query.writeUInt16BE(id, 0);
    return new Promise((resolve) => {
      const socket = createSocket('udp4');
      const cancel = clock.timer(timeoutMs, () => finish(undefined));
      function finish(answer: Buffer | undefined): void {
        cancel();
        socket.close();
        socket.removeAllListeners();
        socket.on('error', () => {});
        resolve(answer);
      }
      socket.on('error', () => finish(undefined));
      socket.on('message', (answer) => {
        if (answer.length < 12 || answer.readUInt16BE(0) !== id) return;
        message.copy(answer, 0, 0, 2);
        finish(answer);
      });
      // connected: the kernel drops what comes from anyone else
      socket.connect(port, resolver, () => socket.send(query));
    });
  }

  #byTcp(message: Buffer, resolver: string): Promise<Buffer | undefined> {
    const { clock, timeoutMs, port } = this.#options;
    return new Promise((resolve) => {
      const socket = connect(port, resolver);
      const cancel = clock.timer(timeoutMs, () => finish(undefined));
      let received = Buffer.alloc(0);
      function finish(answer: Buffer | undefined): void {
        cancel();
        socket.destroy();
        resolve(answer);
      }
      socket.on('error', () => finish(undefined));
      socket.on('close', () => finish(undefined));
      socket.on('data', (bytes) => {
        received = Buffer.concat([received, bytes]);
        const length = received.length < 2 ? Number.POSITIVE_INFINITY : received.readUInt16BE(0);
        if (received.length >= length + 2) finish(received.subarray(2, length + 2));
      });
      socket.write(frame(message));
    });
  }
}

/** A message as TCP carries it: two bytes of length in front. */
export function frame(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}
