import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { writeFileAtomic } from '@gantry/common';
import { z } from 'zod';
import { digestHex } from './digest.ts';
import { parseConfig } from './image-config.ts';
import type { ImageConfig } from './images.ts';
import { type Layout, listDigests } from './layout.ts';
import { parseManifest } from './manifest.ts';

/** An image that is wholly here. */
export interface ImageRecord {
  /** What references resolve to. */
  digest: string;
  manifestDigest: string;
  config: ImageConfig;
  /** Every blob, the documents included. */
  blobs: readonly string[];
  /** Bottom first. */
  diffIds: readonly string[];
  sizeBytes: number;
  pulledAtUs: number;
  usedAtUs: number;
}

/** What `index.json` holds of an image; the rest is read from its documents. */
const storedRecord = z.object({ digest: z.string(), manifestDigest: z.string(), pulledAtUs: z.number(), usedAtUs: z.number() });
type StoredRecord = z.infer<typeof storedRecord>;

const storedIndex = z.object({
  version: z.literal(1),
  images: z.array(storedRecord),
  references: z.record(z.string(), z.string()),
  /** "<reference> <pin>" and digest, the longest unused first. */
  pins: z.array(z.tuple([z.string(), z.string()])),
});
type StoredIndex = z.infer<typeof storedIndex>;

const maxPins = 5000;

/** The images of the store by digest, and what leads to them. */
export class Catalog {
  readonly images = new Map<string, ImageRecord>();
  /** Normalised reference -> digest. */
  readonly references = new Map<string, string>();
  readonly #pins = new Map<string, string>();
  readonly #layout: Layout;
  #saving: Promise<void> | undefined;
  #dirty = false;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  pinned(reference: string, pin: string): string | undefined {
    return this.#pins.get(`${reference} ${pin}`);
  }

  pin(reference: string, pin: string, digest: string): void {
    const key = `${reference} ${pin}`;
    this.#pins.delete(key);
    const oldest = this.#pins.keys().next().value;
    if (this.#pins.size >= maxPins && oldest !== undefined) this.#pins.delete(oldest);
    this.#pins.set(key, digest);
  }

  /** Whether an image has this blob or this layer. */
  needs(digest: string): boolean {
    for (const { blobs, diffIds } of this.images.values()) if (blobs.includes(digest) || diffIds.includes(digest)) return true;
    return false;
  }

  /** Forgets an image and all that leads to it. */
  forget(digest: string): void {
    this.images.delete(digest);
    for (const [key, value] of this.references) if (value === digest) this.references.delete(key);
    for (const [key, value] of this.#pins) if (value === digest) this.#pins.delete(key);
  }

  /** Reads the index; an image that is not whole any more is left out and will be pulled again. */
  async load(): Promise<void> {
    const stored = await readIndex(this.#layout.index);
    const layers = await listDigests(this.#layout.layers);
    for (const image of stored.images) {
      const record = await readRecord(this.#layout, image);
      if (record?.diffIds.every((diffId) => layers.has(diffId))) this.images.set(record.digest, record);
    }
    for (const [key, digest] of Object.entries(stored.references)) if (this.images.has(digest)) this.references.set(key, digest);
    for (const [key, digest] of stored.pins) if (this.images.has(digest)) this.#pins.set(key, digest);
  }

  /** Writes the index; calls while one is being written share the next. */
  async save(): Promise<void> {
    this.#dirty = true;
    this.#saving ??= this.#write().finally(() => {
      this.#saving = undefined;
    });
    await this.#saving;
  }

  async #write(): Promise<void> {
    while (this.#dirty) {
      this.#dirty = false;
      const images = [...this.images.values()].map(({ digest, manifestDigest, pulledAtUs, usedAtUs }) => ({
        digest,
        manifestDigest,
        pulledAtUs,
        usedAtUs,
      }));
      const index: StoredIndex = { version: 1, images, references: Object.fromEntries(this.references), pins: [...this.#pins] };
      await writeFileAtomic(this.#layout.index, JSON.stringify(index));
    }
  }
}

/** Everything lost is pulled again, so that an unreadable index is an empty one. */
async function readIndex(path: string): Promise<StoredIndex> {
  try {
    return storedIndex.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return { version: 1, images: [], references: {}, pins: [] };
  }
}

async function readVerified(layout: Layout, digest: string): Promise<Buffer | undefined> {
  try {
    const bytes = await readFile(layout.blob(digest));
    return createHash('sha256').update(bytes).digest('hex') === digestHex(digest) ? bytes : undefined;
  } catch {
    // missing or unreadable: the image counts as not pulled
    return undefined;
  }
}

async function readRecord(layout: Layout, stored: StoredRecord): Promise<ImageRecord | undefined> {
  const { digest, manifestDigest } = stored;
  const bytes = await readVerified(layout, manifestDigest);
  if (!bytes) return undefined;
  try {
    const manifest = parseManifest(digest, { bytes, mediaType: '', digest: manifestDigest });
    if (manifest.kind !== 'manifest') return undefined;
    const config = await readVerified(layout, manifest.config.digest);
    if (!config) return undefined;
    const { diffIds, config: imageConfig } = parseConfig(digest, config);
    const blobs = [digest, manifestDigest, manifest.config.digest, ...manifest.layers.map((layer) => layer.digest)];
    const sizeBytes = bytes.length + config.length + manifest.layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
    const { pulledAtUs, usedAtUs } = stored;
    return { digest, manifestDigest, config: imageConfig, blobs: [...new Set(blobs)], diffIds, sizeBytes, pulledAtUs, usedAtUs };
  } catch {
    // written by another version with other rules: pulled again
    return undefined;
  }
}
