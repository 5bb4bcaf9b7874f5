import { closeSync, openSync, readSync } from 'node:fs';

/** Reads that are left out after a failed one, doubled each time: a failure costs more than a read. */
const maxSkipped = 32;

/** A kernel file that is read again and again through one descriptor. Never throws. */
export class KeptFile {
  readonly #path: string;
  #fd = -1;
  #skip = 0;
  #penalty = 1;

  constructor(path: string) {
    this.#path = path;
  }

  /** Fills the buffer from the file's beginning; 0 when it cannot be read (not yet there, or gone). */
  read(buffer: Buffer): number {
    if (this.#skip > 0) {
      this.#skip--;
      return 0;
    }
    try {
      if (this.#fd < 0) this.#fd = openSync(this.#path, 'r');
      const length = this.#readWhole(buffer);
      this.#penalty = 1;
      return length;
    } catch {
      // a group that is removed, or a file that this kernel does not have
      this.close();
      this.#skip = this.#penalty;
      this.#penalty = Math.min(this.#penalty * 2, maxSkipped);
      return 0;
    }
  }

  /** Most files are one read; a long one comes in pieces, and ends with an empty one. */
  #readWhole(buffer: Buffer): number {
    let length = 0;
    for (;;) {
      const piece = readSync(this.#fd, buffer, length, buffer.length - length, length);
      length += piece;
      if (piece < pieceBytes || length >= buffer.length) return length;
    }
  }

  close(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
  }
}

/** A shorter piece than this is the file's end: the kernel fills at least most of a page. */
const pieceBytes = 3072;
