import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { Code, GantryError, type Logger } from '@gantry/common';
import { decide, failure, ResponseCode } from './dns-answer.ts';
import { type DnsForwarder, frame } from './dns-forward.ts';
import type { Asker, ServiceNames } from './service-names.ts';

/** TCP is for the rare long answer. */
const maxConnections = 64;
const idleMs = 5000;
const maxMessageBytes = 4096;

export interface DnsServerOptions {
  /** The bridge's address. */
  address: string;
  /** Default 53; 0 finds a free one. */
  port?: number;
  log: Logger;
  forwarder: DnsForwarder;
  /** The app of the container that has the address. */
  askerOf: (address: string) => Asker | undefined;
  random: () => number;
}

/** The node's name server: the cluster's names from memory, all others from the host's resolvers. */
export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #connections = new Set<Socket>();
  #names: ServiceNames;
  #answered = 0;
  #forwarded = 0;

  constructor(options: DnsServerOptions, names: ServiceNames) {
    this.#options = options;
    this.#names = names;
    this.#udp = createSocket('udp4');
    this.#udp.on('message', (message, from) => this.#onDatagram(message, from));
    this.#tcp = createServer((socket) => this.#onConnection(socket));
    this.#tcp.maxConnections = maxConnections;
  }

  /** Queries answered from memory and by others, since the start. */
  get counts(): { answered: number; forwarded: number } {
    return { answered: this.#answered, forwarded: this.#forwarded };
  }

  /** The port in use. */
  get port(): number {
    return this.#udp.address().port;
  }

  /** Answers from these names from now on. */
  setNames(names: ServiceNames): void {
    this.#names = names;
  }

  /** @throws GantryError `unavailable` when the address or the port cannot be had. */
  async listen(): Promise<void> {
    const { address, port = 53, log } = this.#options;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#udp.once('error', reject);
        this.#udp.bind(port, address, () => resolve());
      });
      await new Promise<void>((resolve, reject) => {
        this.#tcp.once('error', reject);
        this.#tcp.listen(this.port, address, () => resolve());
      });
    } catch (error) {
      await this.close();
      throw new GantryError(Code.unavailable, `cannot serve names at "${address}:${port}": ${(error as Error).message}`, { cause: error });
    }
    // a single datagram that cannot be sent or read is no reason to end
    this.#udp.removeAllListeners('error').on('error', (error) => log.warn({ err: error }, 'name server'));
    this.#tcp.removeAllListeners('error').on('error', (error) => log.warn({ err: error }, 'name server'));
  }

  #onDatagram(message: Buffer, from: RemoteInfo): void {
    const reply = (answer: Buffer) => this.#udp.send(answer, from.port, from.address, () => {});
    void this.#serve(message, { tcp: false, from: from.address, reply });
  }

  #onConnection(socket: Socket): void {
    let waiting = Buffer.alloc(0);
    this.#connections.add(socket);
    socket.setTimeout(idleMs, () => socket.destroy());
    socket.on('close', () => this.#connections.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes) => {
      waiting = Buffer.concat([waiting, bytes]);
      while (waiting.length >= 2 && waiting.length >= waiting.readUInt16BE(0) + 2) {
        const end = waiting.readUInt16BE(0) + 2;
        const message = waiting.subarray(2, end);
        waiting = waiting.subarray(end);
        const reply = (answer: Buffer) => void socket.write(frame(answer));
        void this.#serve(message, { tcp: true, from: socket.remoteAddress ?? '', reply });
      }
      if (waiting.length > maxMessageBytes) socket.destroy();
    });
  }

  async #serve(message: Buffer, source: { tcp: boolean; from: string; reply: (answer: Buffer) => void }): Promise<void> {
    const { askerOf, forwarder, random } = this.#options;
    const context = { names: this.#names, asker: askerOf(source.from), random: random() };
    const decision = decide({ message, tcp: source.tcp }, context);
    if (decision.kind === 'drop') return;
    if (decision.kind === 'answer') {
      this.#answered++;
      source.reply(decision.message);
      return;
    }
    this.#forwarded++;
    try {
      source.reply(await forwarder.ask(message, source.tcp));
    } catch {
      // the asker's resolver library reports it to whoever asked
      source.reply(failure(message, ResponseCode.serverFailure));
    }
  }

  /** Ends all conversations. */
  async close(): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => {
        try {
          this.#udp.close(() => resolve());
        } catch {
          // was not open
          resolve();
        }
      }),
      new Promise<void>((resolve) => {
        this.#tcp.close(() => resolve());
      }),
    ]);
  }
}
