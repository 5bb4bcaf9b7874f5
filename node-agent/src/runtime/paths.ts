import { join } from 'node:path';
import { Code, GantryError } from '@gantry/common';
import type { ContainerPaths } from './runtime.ts';

/** The agent's two folders. */
export interface Folders {
  /** Outlives a reboot. */
  dataDir: string;
  /** Ends with a reboot; best in memory, where a file costs microseconds instead of a turn of the disk's journal. */
  runDir: string;
}

/** The folders that hold one folder for each container. */
export function containerFolders({ dataDir, runDir }: Folders): { data: string; run: string } {
  return { data: join(dataDir, 'containers'), run: join(runDir, 'containers') };
}

/** Whether the text may name a container, and so a folder. */
export function isContainerId(text: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9-]{0,63}$/.test(text);
}

/**
 * Where the files of container `id` lie.
 * @throws GantryError invalidArgument for an id that could be a path.
 */
export function containerPaths(folders: Folders, id: string): ContainerPaths {
  if (!isContainerId(id)) {
    throw new GantryError(
      Code.invalidArgument,
      `cannot use container id "${id.slice(0, 80)}": must be letters, digits and hyphens, at most 64`,
    );
  }
  const { data, run } = containerFolders(folders);
  return { id, bundle: join(run, id), data: join(data, id), state: join(data, id, 'state'), rootfs: join(folders.runDir, 'rootfs') };
}
