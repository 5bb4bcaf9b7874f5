import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { Code, GantryError } from '@gantry/common';
import type { RawManifest } from './manifest.ts';
import type { Reference } from './reference.ts';
import type { BlobStream, Registry } from './registry.ts';

const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const layerType = 'application/vnd.oci.image.layer.v1.tar';
const configType = 'application/vnd.oci.image.config.v1+json';

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** A registry in memory, for tests; it breaks and lies as told. */
export class FakeRegistry implements Registry {
  readonly blobs = new Map<string, Buffer>();
  readonly tags = new Map<string, string>();
  /** "resolve <repository>:<tag>", "manifest <digest>", "blob <digest>@<offset>", in order. */
  readonly calls: string[] = [];
  /** Ends each blob after so many bytes, as often as `breaks` says. */
  breakAfter = Number.POSITIVE_INFINITY;
  breaks = 0;
  /** Thrown by every call while it is set. */
  failure: GantryError | undefined;
  #gate: Promise<void> = Promise.resolve();

  put(bytes: Buffer): string {
    const digest = digestOf(bytes);
    this.blobs.set(digest, bytes);
    return digest;
  }

  /** Pushes an image of these layers; fields of manifest and config may be overridden. */
  push(name: string, layers: readonly Buffer[], override: { manifest?: object; config?: object } = {}): string {
    const rootfs = { type: 'layers', diff_ids: layers.map(digestOf) };
    const config = Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', config: {}, rootfs, ...override.config }));
    const describe = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: this.put(bytes), size: bytes.length });
    const manifest = {
      schemaVersion: 2,
      mediaType: manifestType,
      config: describe(configType, config),
      layers: layers.map((layer) => describe(layerType, layer)),
      ...override.manifest,
    };
    const digest = this.put(Buffer.from(JSON.stringify(manifest)));
    this.tags.set(name, digest);
    return digest;
  }

  /** Makes blobs wait until the returned function is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return resolve;
  }

  #find(digest: string): Buffer {
    if (this.failure) throw this.failure;
    const bytes = this.blobs.get(digest);
    if (!bytes) throw new GantryError(Code.notFound, `cannot pull "${digest}": its registry does not have it`);
    return bytes;
  }

  async resolve(reference: Reference): Promise<string> {
    this.calls.push(`resolve ${reference.repository}:${reference.tag}`);
    if (this.failure) throw this.failure;
    const digest = this.tags.get(`${reference.repository}:${reference.tag}`);
    if (digest === undefined) throw new GantryError(Code.notFound, `cannot pull "${reference.repository}": its registry does not have it`);
    return digest;
  }

  async manifest(_reference: Reference, digest: string): Promise<RawManifest> {
    this.calls.push(`manifest ${digest}`);
    return { bytes: this.#find(digest), digest, mediaType: manifestType };
  }

  async blob(_reference: Reference, digest: string, offset: number, signal: AbortSignal): Promise<BlobStream> {
    this.calls.push(`blob ${digest}@${offset}`);
    const bytes = this.#find(digest).subarray(offset);
    await this.#gate;
    signal.throwIfAborted();
    return { body: this.#stream(bytes), offset, url: new URL('https://registry.test') };
  }

  #stream(bytes: Buffer): Readable {
    if (this.breaks <= 0 || bytes.length <= this.breakAfter) return Readable.from(bytes.length > 0 ? [bytes] : []);
    this.breaks--;
    return Readable.from(broken(bytes.subarray(0, this.breakAfter)));
  }

  async close(): Promise<void> {}
}

async function* broken(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
  throw Object.assign(new Error('other side closed'), { code: 'UND_ERR_SOCKET' });
}
