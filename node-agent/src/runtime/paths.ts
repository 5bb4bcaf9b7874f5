import { join } from 'node:path';
import type { ContainerPaths } from './runtime.ts';

/** Folder that holds all containers of a node. */
export function containersFolder(dataDir: string): string {
  return join(dataDir, 'containers');
}

/** Where the files of container `id` lie under the node's data folder. */
export function containerPaths(dataDir: string, id: string): ContainerPaths {
  const bundle = join(containersFolder(dataDir), id);
  return { id, bundle, state: join(bundle, 'state') };
}
