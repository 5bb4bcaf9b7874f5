import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { backoffMs, type Clock, Code, GantryError, sleep } from '@gantry/common';
import type { Layout } from './layout.ts';
import { type Descriptor, refusal } from './manifest.ts';
import { formatReference, type Reference } from './reference.ts';
import type { Registry } from './registry.ts';
import { transportError } from './transport.ts';

export interface DownloadOptions {
  registry: Registry;
  layout: Layout;
  clock: Clock;
  /** 0..1, spreads retries. */
  random: () => number;
  reference: Reference;
  descriptor: Descriptor;
  signal: AbortSignal;
  /** Bytes received so far. */
  onBytes: (received: number) => void;
}

/** Attempts in a row that bring nothing new. */
const maxFruitless = 3;
/** Attempts in all, for a source that gives a little each time. */
const maxAttempts = 30;
/** A source below this rate is as good as silent. */
const minBytesPerWindow = 10 * 1024;
const windowMs = 10_000;

interface Partial {
  file: FileHandle;
  hash: Hash;
  received: number;
}

/**
 * Fetches a blob into the store, verified in size and digest as it comes; goes on where a broken transfer stopped.
 * @throws GantryError failedPrecondition when it is not what its descriptor says; as the registry otherwise.
 */
export async function download(options: DownloadOptions): Promise<void> {
  const { layout, descriptor } = options;
  const path = layout.scratchFile();
  const partial: Partial = { file: await open(path, 'wx', 0o600), hash: createHash('sha256'), received: 0 };
  try {
    await receiveAll(options, partial);
    const digest = `sha256:${partial.hash.digest('hex')}`;
    if (digest !== descriptor.digest) {
      throw refusal(formatReference(options.reference), `a blob must have digest ${descriptor.digest}, found ${digest}`);
    }
    await rename(path, layout.blob(descriptor.digest));
  } catch (error) {
    await rm(path, { force: true });
    throw diskError(error);
  } finally {
    await partial.file.close();
  }
}

async function receiveAll(options: DownloadOptions, partial: Partial): Promise<void> {
  const { clock, random, signal, descriptor } = options;
  let fruitless = 0;
  for (let attempt = 1; ; attempt++) {
    const before = partial.received;
    try {
      await receive(options, partial);
      return;
    } catch (thrown) {
      const error = GantryError.from(thrown);
      const stalled = error.code === Code.deadlineExceeded;
      if (signal.aborted || !(error.retryable || stalled)) throw error;
      if (partial.received === descriptor.sizeBytes) return;
      if (partial.received > before) fruitless = 0;
      else if (stalled || fruitless + 1 >= maxFruitless) throw error;
      if (attempt >= maxAttempts) throw error;
      await sleep(clock, backoffMs(fruitless++, random(), { minMs: 100, maxMs: 2000 }), signal);
    }
  }
}

/** One transfer, from where the last one broke. */
async function receive(options: DownloadOptions, partial: Partial): Promise<void> {
  const { registry, reference, descriptor, signal, clock, onBytes } = options;
  const { body, offset, url } = await registry.blob(reference, descriptor.digest, partial.received, signal);
  const pace = createPace(clock);
  try {
    if (offset !== partial.received) await restart(partial, offset);
    for await (const piece of body) {
      const chunk = piece as Buffer;
      if (partial.received + chunk.length > descriptor.sizeBytes) {
        throw refusal(formatReference(reference), `a blob must have ${descriptor.sizeBytes} bytes, found more`);
      }
      partial.hash.update(chunk);
      await partial.file.write(chunk, 0, chunk.length, partial.received);
      partial.received += chunk.length;
      onBytes(partial.received);
      if (!pace(chunk.length)) throw new GantryError(Code.deadlineExceeded, `cannot pull from registry "${url.host}": it sends too slowly`);
    }
  } catch (error) {
    body.destroy();
    throw isDiskError(error) ? error : transportError(url, error);
  }
  if (partial.received < descriptor.sizeBytes) {
    throw new GantryError(Code.unavailable, `cannot pull from registry "${url.host}": it stopped before the end`);
  }
}

async function restart(partial: Partial, offset: number): Promise<void> {
  if (offset !== 0) throw new GantryError(Code.unavailable, 'cannot go on with a transfer: the registry sends another part');
  await partial.file.truncate(0);
  partial.hash = createHash('sha256');
  partial.received = 0;
}

/** Says false once a whole window has passed with less than the least rate. */
function createPace(clock: Clock): (bytes: number) => boolean {
  let startMs = clock.monotonicMs();
  let inWindow = 0;
  return (bytes) => {
    inWindow += bytes;
    const now = clock.monotonicMs();
    if (now - startMs < windowMs) return true;
    const enough = inWindow >= minBytesPerWindow;
    startMs = now;
    inWindow = 0;
    return enough;
  };
}

function isDiskError(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'EIO' || code === 'EROFS';
}

function diskError(error: unknown): unknown {
  if (!isDiskError(error)) return error;
  const { message } = GantryError.from(error);
  return new GantryError(Code.resourceExhausted, `cannot store a blob: ${message}`, { cause: error, details: { hint: 'free disk space' } });
}
