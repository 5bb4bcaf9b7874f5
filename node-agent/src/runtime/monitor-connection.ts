import { closeSync, constants, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { AsyncQueue, Code, GantryError } from '@gantry/common';
import { z } from 'zod';
import { encodeControl, encodeFrame, type Frame, FrameReader, FrameType } from './frames.ts';

const answer = z.looseObject({ ok: z.boolean(), error: z.string().optional(), pid: z.number().optional() });
export type MonitorAnswer = z.infer<typeof answer>;

const answerTimeoutMs = 10_000;
/** sockaddr_un holds 107 bytes; a longer path goes through a descriptor of its folder. */
const longestPath = 100;
/** Frames that wait for a slow reader before the socket is paused. */
const highWater = 16;

/** One connection to a container's monitor, which carries one operation. */
export class MonitorConnection {
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  // the socket is paused at the high-water mark, so that at most one read's worth of frames comes on top
  readonly #frames = new AsyncQueue<Frame>(100_000);
  readonly #iterator = this.#frames[Symbol.asyncIterator]();

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes) => this.#onData(bytes));
    socket.on('error', (error) =>
      this.#frames.end(new GantryError(Code.unavailable, `lost the monitor: ${error.message}`, { cause: error })),
    );
    socket.on('close', () => this.#frames.end());
  }

  /** @throws GantryError notFound when no monitor listens: the container has ended or never ran. */
  static async open(stateDir: string): Promise<MonitorConnection> {
    const path = join(stateDir, 'monitor.sock');
    const folder = path.length > longestPath ? openSync(stateDir, constants.O_DIRECTORY | constants.O_RDONLY) : undefined;
    try {
      const socket = await dial(folder === undefined ? path : `/proc/self/fd/${folder}/monitor.sock`);
      return new MonitorConnection(socket);
    } finally {
      if (folder !== undefined) closeSync(folder);
    }
  }

  #onData(bytes: Buffer): void {
    try {
      for (const frame of this.#reader.push(bytes)) this.#frames.push(frame);
    } catch (error) {
      this.#frames.end(error);
      this.#socket.destroy();
      return;
    }
    if (this.#frames.size >= highWater) this.#socket.pause();
  }

  /**
   * Sends the operation and waits for the monitor's answer.
   * @throws GantryError failedPrecondition with the monitor's own words when it refuses.
   */
  async request(operation: object): Promise<MonitorAnswer> {
    this.#socket.write(encodeControl(operation));
    const late = setTimeout(() => {
      this.#frames.end(new GantryError(Code.deadlineExceeded, `the monitor did not answer within ${answerTimeoutMs} ms`));
      this.#socket.destroy();
    }, answerTimeoutMs);
    try {
      const frame = await this.next();
      if (!frame) throw new GantryError(Code.unavailable, 'the monitor hung up before it answered');
      const message = answer.parse(JSON.parse(frame.payload.toString('utf8')));
      if (!message.ok) throw new GantryError(Code.failedPrecondition, message.error ?? 'the monitor refused');
      return message;
    } finally {
      clearTimeout(late);
    }
  }

  /** The next frame; undefined at the end of the connection. */
  async next(): Promise<Frame | undefined> {
    if (this.#frames.size < highWater) this.#socket.resume();
    const result = await this.#iterator.next();
    return result.done ? undefined : result.value;
  }

  /** Resolves when the bytes have left; a broken connection shows at the reader. */
  send(type: FrameType, payload: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#socket.write(encodeFrame(type, payload), () => resolve()));
  }

  control(message: object): void {
    if (!this.#socket.destroyed) this.#socket.write(encodeControl(message));
  }

  close(): void {
    this.#socket.destroy();
  }
}

function dial(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const onError = (error: NodeJS.ErrnoException) => {
      const gone = error.code === 'ENOENT' || error.code === 'ECONNREFUSED';
      reject(new GantryError(gone ? Code.notFound : Code.unavailable, `cannot reach the monitor: ${error.message}`, { cause: error }));
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      resolve(socket);
    });
  });
}

/** Reads one JSON control frame; undefined for another type or text that is no object. */
export function controlOf(frame: Frame): Record<string, unknown> | undefined {
  if (frame.type !== FrameType.control) return undefined;
  try {
    const value: unknown = JSON.parse(frame.payload.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    // not ours to understand
    return undefined;
  }
}
