import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '@gantry/common';
import { containerPaths, type Folders, isContainerId } from '../runtime/paths.ts';

export interface RemainsOptions {
  folders: Folders;
  log: Logger;
  /** Logs of a removed container are kept this long. Default 10 min. */
  keepMs?: number;
  /** Logs of so many removed containers are kept at most, the newest. Default 200. */
  keepCount?: number;
}

/** The logs of containers that are gone, for a bounded time. */
export class LogRemains {
  readonly #folders: Folders;
  readonly #log: Logger;
  readonly #keepMs: number;
  readonly #keepCount: number;

  constructor({ folders, log, keepMs = 600_000, keepCount = 200 }: RemainsOptions) {
    this.#folders = folders;
    this.#log = log;
    this.#keepMs = keepMs;
    this.#keepCount = keepCount;
  }

  #folder(id = ''): string {
    return join(this.#folders.dataDir, 'logs', id);
  }

  /** Where a container's log lies, alive or gone; undefined when there is none. */
  folderOf(id: string): string | undefined {
    if (!isContainerId(id)) return undefined;
    const { state } = containerPaths(this.#folders, id);
    return [state, this.#folder(id)].find((folder) => existsSync(folder));
  }

  /** Moves the log of a removed container aside and deletes everything else of it. */
  async keep(id: string): Promise<void> {
    const paths = containerPaths(this.#folders, id);
    await mkdir(this.#folder(), { recursive: true, mode: 0o700 });
    await rename(paths.state, this.#folder(id)).catch((error: NodeJS.ErrnoException) => {
      // it never started, or its log is there already
      if (error.code !== 'ENOENT' && error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
    for (const folder of [paths.data, paths.bundle]) await rm(folder, { recursive: true, force: true });
  }

  /** Deletes what is older, or more, than is kept. */
  async prune(nowMs: number): Promise<void> {
    const ids = await readdir(this.#folder()).catch(() => []);
    const aged = await Promise.all(
      ids.map(async (id) => ({ id, at: (await stat(this.#folder(id)).catch(() => undefined))?.ctimeMs ?? 0 })),
    );
    aged.sort((a, b) => b.at - a.at);
    for (const [index, { id, at }] of aged.entries()) {
      if (index < this.#keepCount && nowMs - at < this.#keepMs) continue;
      await rm(this.#folder(id), { recursive: true, force: true }).catch((error: unknown) => {
        this.#log.warn({ id, err: error }, 'cannot delete the log of a removed container');
      });
    }
  }
}
