import { readFile, stat, statfs } from 'node:fs/promises';
import { type Clock, Code, GantryError, writeFileAtomic } from '@gantry/common';
import pLimit from 'p-limit';
import type { ImageRecord } from './catalog.ts';
import { download } from './download.ts';
import { type ParsedConfig, parseConfig } from './image-config.ts';
import type { PullProgress } from './images.ts';
import type { Layout } from './layout.ts';
import {
  choosePlatform,
  type Descriptor,
  type LayerDescriptor,
  type Manifest,
  type Platform,
  parseManifest,
  type RawManifest,
  refusal,
} from './manifest.ts';
import { formatReference, type Reference } from './reference.ts';
import type { Registry } from './registry.ts';
import { SharedWork } from './shared-work.ts';
import type { Unpacker } from './unpacker.ts';

export interface PullLimits {
  /** Of all compressed layers of an image, and of all files that they unpack to. Default 16 GiB. */
  maxImageBytes: number;
  /** Blobs that are fetched at the same time, for the whole store. Default 4. */
  downloads: number;
  /** Layers that are unpacked at the same time. Default 2. */
  unpacks: number;
}

export interface PullerOptions {
  layout: Layout;
  registry: Registry;
  unpacker: Unpacker;
  clock: Clock;
  /** 0..1, spreads retries. */
  random: () => number;
  platform: Platform;
  limits: PullLimits;
}

export interface PullContext {
  signal: AbortSignal;
  report: (progress: PullProgress) => void;
  /** Told of everything the pull relies on, before it looks whether it is there; resolves when it may look. */
  claim: (digests: readonly string[]) => Promise<void>;
}

interface Described {
  manifest: Manifest;
  manifestDigest: string;
  /** Digests and bytes of the documents read so far. */
  documents: RawManifest[];
}

const maxConfigBytes = 4 * 1024 * 1024;

/** Brings images from registries into the store. */
export class Puller {
  readonly #options: PullerOptions;
  readonly #downloads = new SharedWork<void, number>();
  readonly #unpacks = new SharedWork<void, number>();
  readonly #downloading;
  readonly #unpacking;

  constructor(options: PullerOptions) {
    this.#options = options;
    this.#downloading = pLimit(options.limits.downloads);
    this.#unpacking = pLimit(options.limits.unpacks);
  }

  /** Fetches and unpacks the image of a digest; returns when all of it is on disk. */
  async pull(reference: Reference, digest: string, context: PullContext): Promise<ImageRecord> {
    const { clock } = this.#options;
    const described = await this.#describe(reference, digest, context);
    const { manifest, manifestDigest, documents } = described;
    const blobs = [...documents.map((raw) => raw.digest), manifest.config.digest, ...manifest.layers.map((layer) => layer.digest)];
    await context.claim(blobs);
    for (const raw of documents) await writeFileAtomic(this.#options.layout.blob(raw.digest), raw.bytes);
    const { config, diffIds } = await this.#config(reference, manifest, context.signal);
    await context.claim(diffIds);
    await this.#layers({ reference, manifest, diffIds, context });
    const sizeBytes = [...manifest.layers, manifest.config].reduce((sum, part) => sum + part.sizeBytes, documents.at(-1)!.bytes.length);
    const now = clock.nowUs();
    return { digest, manifestDigest, config, blobs: [...new Set(blobs)], diffIds, sizeBytes, pulledAtUs: now, usedAtUs: now };
  }

  async #describe(reference: Reference, digest: string, { signal }: PullContext): Promise<Described> {
    const { registry, platform, limits } = this.#options;
    const subject = formatReference(reference);
    const documents = [await registry.manifest(reference, digest, signal)];
    let manifest = parseManifest(subject, documents[0]!);
    let manifestDigest = digest;
    if (manifest.kind === 'index') {
      const chosen = choosePlatform(subject, manifest, platform);
      const raw = await registry.manifest(reference, chosen.digest, signal);
      if (raw.bytes.length !== chosen.sizeBytes) throw refusal(subject, `its manifest must have ${chosen.sizeBytes} bytes`);
      documents.push(raw);
      manifest = parseManifest(subject, { ...raw, mediaType: raw.mediaType || chosen.mediaType });
      manifestDigest = chosen.digest;
    }
    if (manifest.kind === 'index') throw refusal(subject, 'an index must list manifests, found another index');
    const total = manifest.layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
    if (total > limits.maxImageBytes) throw refusal(subject, `its layers must be at most ${limits.maxImageBytes} bytes, found ${total}`);
    await checkSpace(this.#options.layout, subject, total);
    return { manifest, manifestDigest, documents };
  }

  async #config(reference: Reference, manifest: Manifest, signal: AbortSignal): Promise<ParsedConfig> {
    const { layout, platform } = this.#options;
    const subject = formatReference(reference);
    if (manifest.config.sizeBytes > maxConfigBytes) throw refusal(subject, `its config must be at most ${maxConfigBytes} bytes`);
    await this.#blob(reference, manifest.config, signal);
    const parsed = parseConfig(subject, await readFile(layout.blob(manifest.config.digest)));
    if (parsed.diffIds.length !== manifest.layers.length) {
      throw refusal(subject, `must have a diff id for each of ${manifest.layers.length} layers, found ${parsed.diffIds.length}`);
    }
    const { os, architecture } = parsed.config;
    if ((os && os !== platform.os) || (architecture && architecture !== platform.architecture)) {
      throw refusal(subject, `must be for ${platform.os}/${platform.architecture}, found ${os}/${architecture}`);
    }
    return parsed;
  }

  async #layers(pull: { reference: Reference; manifest: Manifest; diffIds: readonly string[]; context: PullContext }): Promise<void> {
    const { reference, manifest, diffIds, context } = pull;
    const failed = new AbortController();
    const signal = AbortSignal.any([context.signal, failed.signal]);
    const progress = createProgress(manifest.layers, context.report);
    const distinct = new Map(diffIds.map((diffId, index) => [diffId, index]));
    const work = [...distinct].map(async ([diffId, index]) => {
      try {
        await this.#layer({ reference, layer: manifest.layers[index]!, diffId, signal, onBytes: (bytes) => progress.bytes(index, bytes) });
        progress.done(index);
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    });
    // Everything has ended before this does: nothing appears in the store after a failed pull.
    await Promise.allSettled(work);
    await Promise.all(work);
  }

  async #layer(wanted: LayerWork): Promise<void> {
    const { layout } = this.#options;
    if (await exists(layout.layer(wanted.diffId))) return;
    await this.#blob(wanted.reference, wanted.layer, wanted.signal, wanted.onBytes);
    await this.#unpacks.join(wanted.diffId, { signal: wanted.signal }, ({ signal }) => this.#unpacking(() => this.#unpack(wanted, signal)));
  }

  async #unpack({ layer, diffId }: LayerWork, signal: AbortSignal): Promise<void> {
    const { layout, unpacker, limits } = this.#options;
    if (await exists(layout.layer(diffId))) return;
    const { digest, compression } = layer;
    const request = { blob: layout.blob(digest), compression, target: layout.layer(diffId), diffId, maxBytes: limits.maxImageBytes };
    await unpacker.unpack(request, signal);
  }

  /** A verified blob in the store; one that is there with the right size was verified when it came. */
  async #blob(reference: Reference, descriptor: Descriptor, signal: AbortSignal, onBytes?: (bytes: number) => void): Promise<void> {
    const { layout, registry, clock, random } = this.#options;
    if ((await sizeOf(layout.blob(descriptor.digest))) === descriptor.sizeBytes) return;
    await this.#downloads.join(descriptor.digest, { signal, onProgress: onBytes }, (work) =>
      this.#downloading(() =>
        download({ registry, layout, clock, random, reference, descriptor, signal: work.signal, onBytes: work.report }),
      ),
    );
  }
}

interface LayerWork {
  reference: Reference;
  layer: LayerDescriptor;
  diffId: string;
  signal: AbortSignal;
  onBytes: (bytes: number) => void;
}

function createProgress(layers: readonly LayerDescriptor[], report: (progress: PullProgress) => void) {
  const received = layers.map(() => 0);
  const whole = new Set<number>();
  const totalBytes = layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
  const tell = () => {
    const doneBytes = received.reduce((sum, bytes) => sum + bytes, 0);
    report({ doneBytes, totalBytes, layersDone: whole.size, layersTotal: layers.length });
  };
  tell();
  return {
    bytes: (index: number, bytes: number) => {
      received[index] = bytes;
      tell();
    },
    done: (index: number) => {
      received[index] = layers[index]!.sizeBytes;
      whole.add(index);
      tell();
    },
  };
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    // not there
    return -1;
  }
}

async function exists(path: string): Promise<boolean> {
  return (await sizeOf(path)) >= 0;
}

async function checkSpace(layout: Layout, subject: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(layout.root);
  if (bavail * bsize > neededBytes) return;
  throw new GantryError(
    Code.resourceExhausted,
    `cannot pull image "${subject}": ${neededBytes} bytes must be free, found ${bavail * bsize}`,
    {
      details: { hint: 'free disk space or remove unused images' },
    },
  );
}
