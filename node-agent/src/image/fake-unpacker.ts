import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Code, GantryError } from '@gantry/common';
import type { Unpacker, UnpackRequest, UnpackResult } from './unpacker.ts';

/** An unpacker for tests: a layer becomes a folder with its blob in it, when that has the diff id. */
export class FakeUnpacker implements Unpacker {
  /** Diff ids, in order. */
  readonly unpacked: string[] = [];
  readonly removed: string[] = [];

  async unpack(request: UnpackRequest, signal: AbortSignal): Promise<UnpackResult> {
    this.unpacked.push(request.diffId);
    const bytes = await readFile(request.blob);
    signal.throwIfAborted();
    const diffId = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    if (diffId !== request.diffId) throw new GantryError(Code.failedPrecondition, `cannot unpack: the diff id must be ${request.diffId}`);
    await mkdir(request.target);
    await writeFile(join(request.target, 'content'), bytes);
    return { entries: 1, fileBytes: bytes.length };
  }

  async remove(folder: string): Promise<void> {
    this.removed.push(folder);
    await rm(folder, { recursive: true, force: true });
  }
}
