import { Code, GantryError } from '@gantry/common';

/** Frame types of the monitor's socket. */
export const FrameType = { control: 0, stdout: 1, stderr: 2, stdin: 3 } as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/** A length above this is a broken peer. */
const mostBytes = 1024 * 1024;
const headerBytes = 5;

export interface Frame {
  type: number;
  payload: Buffer;
}

/** Little-endian length of the payload, type, payload. */
export function encodeFrame(type: FrameType, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + payload.length);
  frame.writeUInt32LE(payload.length, 0);
  frame.writeUInt8(type, 4);
  frame.set(payload, headerBytes);
  return frame;
}

export function encodeControl(message: object): Buffer {
  return encodeFrame(FrameType.control, Buffer.from(JSON.stringify(message)));
}

/** Cuts a byte stream into frames. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /**
   * The frames that are complete with these bytes.
   * @throws GantryError dataLoss for a frame over 1 MiB.
   */
  push(bytes: Buffer): Frame[] {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const frames: Frame[] = [];
    for (;;) {
      if (this.#rest.length < headerBytes) return frames;
      const length = this.#rest.readUInt32LE(0);
      if (length > mostBytes)
        throw new GantryError(Code.dataLoss, `cannot read a frame: must be at most ${mostBytes} bytes, found ${length}`);
      if (this.#rest.length < headerBytes + length) return frames;
      frames.push({ type: this.#rest.readUInt8(4), payload: this.#rest.subarray(headerBytes, headerBytes + length) });
      this.#rest = this.#rest.subarray(headerBytes + length);
    }
  }
}
