import { Code, GantryError } from '@gantry/common';
import type { CollectOptions, CollectResult, EnsureOptions, ImageConfig, ImageHandle, ImageStore, StoredImage } from './images.ts';
import { formatReference, parseReference } from './reference.ts';

/** An image config that says nothing, with the given fields. */
export function fakeImageConfig(fields: Partial<ImageConfig> = {}): ImageConfig {
  const lists = { entrypoint: [], cmd: [], env: [], exposedPorts: [], volumes: [] };
  return { ...lists, workingDir: '', user: '', stopSignal: '', labels: {}, architecture: 'amd64', os: 'linux', ...fields };
}

/** An image store in memory, for tests: what it offers is put there, and `hold` makes pulls wait. */
export class FakeImageStore implements ImageStore {
  readonly #offered = new Map<string, ImageHandle>();
  readonly #here = new Map<string, ImageHandle>();
  #gate: Promise<void> = Promise.resolve();
  /** References that were pulled, in order. */
  readonly pulls: string[] = [];

  /** Makes an image available at its registry; returns what `ensure` will give. */
  offer(reference: string, fields: Partial<Omit<ImageHandle, 'reference'>> = {}): ImageHandle {
    const name = formatReference(parseReference(reference));
    const digest = `sha256:${(this.#offered.size + 1).toString(16).padStart(64, '0')}`;
    const rest = { digest, manifestDigest: digest, layers: ['/layers/base'], config: fakeImageConfig(), sizeBytes: 1000, ...fields };
    const handle = { reference: name, ...rest };
    this.#offered.set(name, handle);
    return handle;
  }

  /** Makes pulls wait until the returned function is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return resolve;
  }

  present(reference: string): ImageHandle | undefined {
    return this.#here.get(formatReference(parseReference(reference)));
  }

  async ensure(reference: string, options: EnsureOptions): Promise<ImageHandle> {
    const found = this.present(reference);
    if (found) return found;
    const name = formatReference(parseReference(reference));
    this.pulls.push(name);
    await this.#gate;
    if (options.signal.aborted) throw GantryError.from(options.signal.reason, Code.cancelled);
    const handle = this.#offered.get(name);
    if (!handle) throw new GantryError(Code.notFound, `cannot pull image "${name}": its registry does not have it`);
    options.onProgress?.({ doneBytes: handle.sizeBytes, totalBytes: handle.sizeBytes, layersDone: 1, layersTotal: 1 });
    this.#here.set(name, handle);
    return handle;
  }

  list(): readonly StoredImage[] {
    return [...this.#here].map(([name, { digest, sizeBytes }]) => ({ references: [name], digest, sizeBytes, pulledAtUs: 0, usedAtUs: 0 }));
  }

  async remove(referenceOrDigest: string): Promise<void> {
    const entry = [...this.#here].find(([name, { digest }]) => digest === referenceOrDigest || name === referenceOrDigest);
    if (!entry) throw new GantryError(Code.notFound, `cannot remove image "${referenceOrDigest}": it is not on this node`);
    this.#here.delete(entry[0]);
  }

  async collect({ inUse }: CollectOptions): Promise<CollectResult> {
    const used = new Set(inUse);
    const removed: string[] = [];
    for (const [name, { digest }] of this.#here) {
      if (used.has(name) || used.has(digest)) continue;
      this.#here.delete(name);
      removed.push(digest);
    }
    return { removed, freedBytes: 0 };
  }

  async close(): Promise<void> {}
}
