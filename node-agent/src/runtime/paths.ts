import { join } from 'node:path';
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

/** Where the files of container `id` lie. */
export function containerPaths(folders: Folders, id: string): ContainerPaths {
  const { data, run } = containerFolders(folders);
  return { id, bundle: join(run, id), data: join(data, id), state: join(data, id, 'state'), rootfs: join(folders.runDir, 'rootfs') };
}
