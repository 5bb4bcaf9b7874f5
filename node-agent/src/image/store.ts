import { rm, stat } from 'node:fs/promises';
import { type Clock, Code, GantryError, type Logger } from '@gantry/common';
import { Catalog, type ImageRecord } from './catalog.ts';
import { planCollection } from './collect-plan.ts';
import { isDigest } from './digest.ts';
import type { CollectOptions, CollectResult, EnsureOptions, ImageHandle, ImageStore, PullProgress, StoredImage } from './images.ts';
import { Layout, listDigests, prepareLayout, removeLayer } from './layout.ts';
import type { Platform } from './manifest.ts';
import { Puller, type PullLimits } from './pull.ts';
import { formatReference, parseReference, type Reference } from './reference.ts';
import type { Registry } from './registry.ts';
import { SharedWork, type WorkContext } from './shared-work.ts';
import type { Unpacker } from './unpacker.ts';

export interface ImageStoreOptions {
  /** The store's own folder, made if missing. */
  root: string;
  registry: Registry;
  unpacker: Unpacker;
  clock: Clock;
  log: Logger;
  /** 0..1, spreads retries. */
  random: () => number;
  /** Default: what this process runs on. */
  platform?: Platform;
  limits?: Partial<PullLimits>;
}

const defaultKeepUs = 24 * 3600 * 1e6;

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64', ia32: '386', arm: 'arm' };

function ownPlatform(): Platform {
  return { os: 'linux', architecture: architectures[process.arch] ?? process.arch };
}

/** Opens the store of a node: removes what is not whole and reads what there is. */
export async function openImageStore(options: ImageStoreOptions): Promise<ImageStore> {
  const layout = new Layout(options.root);
  await prepareLayout(layout, options.unpacker);
  const catalog = new Catalog(layout);
  await catalog.load();
  return new DiskImageStore(options, layout, catalog);
}

class DiskImageStore implements ImageStore {
  readonly #options: ImageStoreOptions;
  readonly #layout: Layout;
  readonly #catalog: Catalog;
  readonly #puller: Puller;
  readonly #resolves = new SharedWork<string, PullProgress>();
  readonly #pulls = new SharedWork<ImageRecord, PullProgress>();
  readonly #closed = new AbortController();
  /** Digests that running pulls rely on, with how many do. */
  readonly #claims = new Map<string, number>();
  #sweeping: Promise<number> = Promise.resolve(0);

  constructor(options: ImageStoreOptions, layout: Layout, catalog: Catalog) {
    const { registry, unpacker, clock, random, platform = ownPlatform() } = options;
    this.#options = options;
    this.#layout = layout;
    this.#catalog = catalog;
    const limits = { maxImageBytes: 16 * 2 ** 30, downloads: 4, unpacks: 2, ...options.limits };
    this.#puller = new Puller({ layout, registry, unpacker, clock, random, platform, limits });
  }

  present(text: string, pin?: string): ImageHandle | undefined {
    const reference = parseReference(text);
    const name = formatReference(reference);
    const record = this.#known(reference, name, pin);
    return record ? this.#use(name, record) : undefined;
  }

  #known(reference: Reference, name: string, pin: string | undefined): ImageRecord | undefined {
    const { images, references } = this.#catalog;
    if (reference.digest !== '') return images.get(reference.digest);
    const digest = pin === undefined ? references.get(name) : this.#catalog.pinned(name, pin);
    return digest === undefined ? undefined : images.get(digest);
  }

  #use(reference: string, record: ImageRecord): ImageHandle {
    record.usedAtUs = this.#options.clock.nowUs();
    const { digest, manifestDigest, config, sizeBytes } = record;
    // A layer that occurs twice counts where it lies on top; overlayfs refuses a folder given twice.
    const layers = [...new Set(record.diffIds.toReversed())].map((diffId) => this.#layout.layer(diffId));
    return { reference, digest, manifestDigest, config, sizeBytes, layers: layers.length > 0 ? layers : [this.#layout.empty] };
  }

  async ensure(text: string, options: EnsureOptions): Promise<ImageHandle> {
    const found = this.present(text, options.pin);
    if (found) return found;
    const reference = parseReference(text);
    const name = formatReference(reference);
    const signal = AbortSignal.any([options.signal, this.#closed.signal]);
    const digest = await this.#resolve(reference, name, options.pin, signal);
    const join = { signal, onProgress: options.onProgress };
    const record =
      this.#catalog.images.get(digest) ?? (await this.#pulls.join(digest, join, (context) => this.#pull(reference, digest, context)));
    await this.#remember(reference, name, options.pin, record.digest);
    return this.#use(name, record);
  }

  async #resolve(reference: Reference, name: string, pin: string | undefined, signal: AbortSignal): Promise<string> {
    if (reference.digest !== '') return reference.digest;
    try {
      return await this.#resolves.join(`${name} ${pin ?? ''}`, { signal }, (work) =>
        this.#options.registry.resolve(reference, work.signal),
      );
    } catch (error) {
      const known = this.#catalog.references.get(name);
      const failure = GantryError.from(error);
      if (known === undefined || signal.aborted || !mayUseKnown(failure)) throw failure;
      this.#options.log.warn(
        { image: name, digest: known, err: failure.message },
        'registry cannot be asked: the image that is here is used',
      );
      return known;
    }
  }

  /** Readers of the answer need not wait for the disk: a lost pin is asked for again. */
  async #remember(reference: Reference, name: string, pin: string | undefined, digest: string): Promise<void> {
    const before = this.#catalog.references.get(name);
    this.#catalog.references.set(name, digest);
    if (pin !== undefined && reference.digest === '') this.#catalog.pin(name, pin, digest);
    const saved = this.#catalog.save();
    if (before !== digest) await saved;
    else saved.catch((error: unknown) => this.#options.log.warn({ err: GantryError.from(error).message }, 'cannot write the image index'));
  }

  async #pull(reference: Reference, digest: string, work: WorkContext<PullProgress>): Promise<ImageRecord> {
    const claimed: string[] = [];
    const claim = async (digests: readonly string[]) => {
      for (const each of digests) {
        claimed.push(each);
        this.#claims.set(each, (this.#claims.get(each) ?? 0) + 1);
      }
      await this.#sweeping;
    };
    try {
      const record = await this.#puller.pull(reference, digest, { signal: work.signal, report: work.report, claim });
      this.#catalog.images.set(digest, record);
      this.#release(claimed);
      return record;
    } catch (thrown) {
      const error = GantryError.from(thrown);
      this.#release(claimed);
      // What a broken transfer brought is kept for the next try; of what is refused nothing stays.
      if (!error.retryable && error.code !== Code.deadlineExceeded && error.code !== Code.cancelled) await this.#sweep(new Set(claimed));
      throw error;
    }
  }

  #release(claimed: readonly string[]): void {
    for (const digest of claimed) {
      const left = (this.#claims.get(digest) ?? 1) - 1;
      if (left > 0) this.#claims.set(digest, left);
      else this.#claims.delete(digest);
    }
  }

  /** Removes blobs and layers that nothing needs: of those named, or of all. Sweeps follow one another. */
  #sweep(among?: ReadonlySet<string>): Promise<number> {
    const swept = this.#sweeping.then(() => this.#sweepNow(among));
    this.#sweeping = swept.catch(() => 0);
    return swept;
  }

  async #sweepNow(among: ReadonlySet<string> | undefined): Promise<number> {
    // Asked anew for each: a pull may have claimed one, or ended with it in its image, meanwhile.
    const spare = (digest: string) => (among?.has(digest) ?? true) && !this.#claims.has(digest) && !this.#catalog.needs(digest);
    let freedBytes = 0;
    for (const digest of await listDigests(this.#layout.blobs)) {
      if (!spare(digest)) continue;
      freedBytes += (await stat(this.#layout.blob(digest))).size;
      await rm(this.#layout.blob(digest), { force: true });
    }
    for (const diffId of await listDigests(this.#layout.layers)) {
      if (spare(diffId)) await removeLayer(this.#layout, diffId, this.#options.unpacker);
    }
    return freedBytes;
  }

  list(): readonly StoredImage[] {
    const named = new Map<string, string[]>();
    for (const [reference, digest] of this.#catalog.references) named.set(digest, [...(named.get(digest) ?? []), reference]);
    return [...this.#catalog.images.values()].map(({ digest, sizeBytes, pulledAtUs, usedAtUs }) => ({
      references: named.get(digest) ?? [],
      digest,
      sizeBytes,
      pulledAtUs,
      usedAtUs,
    }));
  }

  async remove(referenceOrDigest: string): Promise<void> {
    const { images, references } = this.#catalog;
    const digest = images.has(referenceOrDigest) ? referenceOrDigest : references.get(formatReference(parseReference(referenceOrDigest)));
    if (digest === undefined) throw new GantryError(Code.notFound, `cannot remove image "${referenceOrDigest}": it is not on this node`);
    this.#catalog.forget(digest);
    await this.#catalog.save();
    await this.#sweep();
  }

  async collect(options: CollectOptions): Promise<CollectResult> {
    const { keepUnusedUs = defaultKeepUs, maxBytes = Number.POSITIVE_INFINITY } = options;
    const policy = { inUse: new Set([...options.inUse].map(wholeName)), nowUs: this.#options.clock.nowUs(), keepUnusedUs, maxBytes };
    const removed = planCollection(this.list(), policy);
    for (const digest of removed) this.#catalog.forget(digest);
    // Use is written here at the latest: it is what the next process judges by.
    await this.#catalog.save();
    return { removed, freedBytes: await this.#sweep() };
  }

  async close(): Promise<void> {
    this.#closed.abort(new GantryError(Code.cancelled, 'cancelled: the image store is closed'));
    await this.#sweeping;
    await this.#options.registry.close();
  }
}

/** A reference as the store names it; a digest, and what is no reference, as it is. */
function wholeName(referenceOrDigest: string): string {
  if (isDigest(referenceOrDigest)) return referenceOrDigest;
  try {
    return formatReference(parseReference(referenceOrDigest));
  } catch {
    // names no image, so it keeps none
    return referenceOrDigest;
  }
}

/** Only what says nothing about the image leaves the known one in use; that it is gone or forbidden does not. */
function mayUseKnown(error: GantryError): boolean {
  return error.retryable || error.code === Code.deadlineExceeded;
}
