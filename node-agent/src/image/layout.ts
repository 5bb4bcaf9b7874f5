import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { newContainerId } from '@gantry/common';
import { digestHex } from './digest.ts';
import type { Unpacker } from './unpacker.ts';

/**
 * Where things lie beneath the store's folder:
 *
 *     index.json               which references and images there are
 *     blobs/sha256/<hex>       manifests, configs, compressed layers
 *     layers/<hex of diff id>/ unpacked layers, shared by all images that have them
 *     layers/empty/            for an image without layers
 *     tmp/                     whatever is not whole yet; emptied at start
 */
export class Layout {
  readonly root: string;
  readonly index: string;
  readonly blobs: string;
  readonly layers: string;
  readonly scratch: string;
  readonly empty: string;

  constructor(root: string) {
    this.root = root;
    this.index = join(root, 'index.json');
    this.blobs = join(root, 'blobs', 'sha256');
    this.layers = join(root, 'layers');
    this.scratch = join(root, 'tmp');
    this.empty = join(this.layers, 'empty');
  }

  blob(digest: string): string {
    return join(this.blobs, digestHex(digest));
  }

  layer(diffId: string): string {
    return join(this.layers, digestHex(diffId));
  }

  scratchFile(): string {
    return join(this.scratch, newContainerId());
  }
}

const wholeName = /^[0-9a-f]{64}$/;

/**
 * Makes the folders and removes what an earlier process did not finish. The store is root's alone: layers hold
 * set-user-id programs of strangers.
 */
export async function prepareLayout(layout: Layout, unpacker: Unpacker): Promise<void> {
  await mkdir(layout.root, { recursive: true, mode: 0o700 });
  await rm(layout.scratch, { recursive: true, force: true });
  for (const folder of [layout.blobs, layout.layers, layout.scratch]) await mkdir(folder, { recursive: true, mode: 0o700 });
  await mkdir(layout.empty, { recursive: true, mode: 0o755 });
  for (const name of await readdir(layout.layers)) {
    if (!wholeName.test(name) && name !== 'empty') await unpacker.remove(join(layout.layers, name));
  }
  for (const name of await readdir(layout.blobs)) {
    if (!wholeName.test(name)) await rm(join(layout.blobs, name), { recursive: true, force: true });
  }
}

/** The digests of all whole layers, or blobs, that are there. */
export async function listDigests(folder: string): Promise<Set<string>> {
  const names = await readdir(folder);
  return new Set(names.filter((name) => wholeName.test(name)).map((name) => `sha256:${name}`));
}

/** Removes a layer: its name goes first, so that a half removed one is never taken for whole. */
export async function removeLayer(layout: Layout, diffId: string, unpacker: Unpacker): Promise<void> {
  const gone = join(layout.layers, `.gone-${newContainerId()}`);
  try {
    await rename(layout.layer(diffId), gone);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  await unpacker.remove(gone);
}
