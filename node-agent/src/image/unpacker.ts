import { spawn } from 'node:child_process';
import { Code, GantryError } from '@gantry/common';

export type Compression = 'none' | 'gzip' | 'zstd';

export interface UnpackRequest {
  /** File that holds the layer's blob. */
  blob: string;
  compression: Compression;
  /** Folder to make; its parent exists, it does not. */
  target: string;
  /** What the uncompressed stream must hash to. */
  diffId: string;
  /** Largest uncompressed stream, and largest sum of file sizes. */
  maxBytes: number;
}

export interface UnpackResult {
  entries: number;
  fileBytes: number;
}

/** Makes layers' folders and removes them. */
export interface Unpacker {
  /**
   * Makes the target folder, whole or not at all.
   * @throws GantryError failedPrecondition when the layer is refused, resourceExhausted without space, cancelled.
   */
  unpack(request: UnpackRequest, signal: AbortSignal): Promise<UnpackResult>;
  /** Removes a folder with everything in it; one that is not there counts as removed. */
  remove(folder: string): Promise<void>;
}

/** The unpacker in C at `program`. */
export function createUnpacker(program: string): Unpacker {
  return {
    unpack: async (request, signal) => {
      const args = ['--layer', request.blob, '--compression', request.compression, '--target', request.target];
      args.push('--diff-id', request.diffId, '--max-bytes', String(request.maxBytes), '--sync');
      return JSON.parse(await run(program, args, signal)) as UnpackResult;
    },
    remove: async (folder) => {
      await run(program, ['--remove', '--target', folder]);
    },
  };
}

const maxOutput = 16 * 1024;

/** Resolves with the program's output; waits for its end in every case, so that nothing of it is left to come. */
function run(program: string, args: readonly string[], signal?: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(GantryError.from(signal.reason, Code.cancelled));
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: {} });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(0, maxOutput);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(0, maxOutput);
    });
    // SIGTERM makes the program clean up before it ends.
    const onAbort = () => child.kill('SIGTERM');
    signal?.addEventListener('abort', onAbort, { once: true });
    child.once('error', (error) => {
      if (child.pid === undefined) reject(new GantryError(Code.internal, `cannot start "${program}"`, { cause: error }));
    });
    child.once('close', (code) => {
      signal?.removeEventListener('abort', onAbort);
      if (code === 0) resolve(output);
      else reject(failure(errors, signal));
    });
  });
}

function failure(errors: string, signal?: AbortSignal): GantryError {
  if (signal?.aborted) return GantryError.from(signal.reason, Code.cancelled);
  const text = errors.trim().split('\n')[0] ?? '';
  if (/No space left on device|Disk quota exceeded/.test(text)) return new GantryError(Code.resourceExhausted, text);
  return new GantryError(text === '' ? Code.internal : Code.failedPrecondition, text || 'cannot unpack: the unpacker was killed');
}
