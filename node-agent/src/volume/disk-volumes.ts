import { lstat, mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Code, GantryError, isName, newContainerId } from '@gantry/common';
import { type Assignment, type Mount, MountType } from '@gantry/proto';
import { type FetchFile, prepareFiles } from './file-mounts.ts';
import { checkHostPath } from './host-path.ts';
import { bindOptions, checkTarget, orderMounts, tmpfsMount } from './mount-options.ts';
import type { PreparedMount, VolumeName, Volumes } from './volumes.ts';

export interface VolumesOptions {
  /** Holds `<namespace>/<app>/<name>`; made if missing. */
  root: string;
  /** Holds configs and secrets by container; best on a file system in memory. */
  filesRoot: string;
  /** Host paths that, and beneath which, manifests may mount. */
  bindRoots: readonly string[];
  fetchFile: FetchFile;
  /** Removes a folder whatever is in it. */
  removeTree: (folder: string) => Promise<void>;
}

const volumePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
const idPattern = /^[a-zA-Z0-9][a-zA-Z0-9-]{0,63}$/;
const anonymous = '.anonymous';

/** Opens the volumes of a node; removals that an earlier process did not finish are finished. */
export async function openVolumes(options: VolumesOptions): Promise<Volumes> {
  // Only root may enter: volumes hold set-user-id programs of strangers.
  for (const folder of [options.root, options.filesRoot]) await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const name of await readdir(options.root)) {
    if (name.startsWith('.gone-')) await options.removeTree(join(options.root, name));
  }
  return new DiskVolumes(options);
}

class DiskVolumes implements Volumes {
  readonly #options: VolumesOptions;

  constructor(options: VolumesOptions) {
    this.#options = options;
  }

  async prepare(assignment: Assignment, signal: AbortSignal): Promise<readonly PreparedMount[]> {
    const { filesRoot, fetchFile } = this.#options;
    checkId(assignment.id);
    const mounts: PreparedMount[] = [];
    for (const [index, mount] of (assignment.spec?.container?.mounts ?? []).entries()) {
      mounts.push(await this.#prepareMount(assignment, mount, index));
    }
    mounts.push(...(await prepareFiles({ assignment, folder: join(filesRoot, assignment.id), fetchFile, signal })));
    return orderMounts(mounts);
  }

  async #prepareMount(assignment: Assignment, mount: Mount, index: number): Promise<PreparedMount> {
    const { root, bindRoots } = this.#options;
    switch (mount.type) {
      case MountType.tmpfs:
        return tmpfsMount(mount);
      case MountType.bind:
        return bind(mount, await checkHostPath(mount.source, bindRoots));
      case MountType.volume: {
        if (mount.source === '') return bind(mount, await makeFolders(root, [anonymous, assignment.id, String(index)]));
        const { namespace = '', app = '' } = assignment.key ?? {};
        return bind(mount, await makeFolders(root, partsOf({ namespace, app, name: mount.source })));
      }
      default:
        throw new GantryError(Code.invalidArgument, `cannot mount at "${mount.target}": its type must be volume, bind or tmpfs`);
    }
  }

  async release(containerId: string): Promise<void> {
    const { root, filesRoot } = this.#options;
    checkId(containerId);
    await rm(join(filesRoot, containerId), { recursive: true, force: true });
    await this.#removeFolder(join(root, anonymous, containerId));
  }

  async list(): Promise<readonly VolumeName[]> {
    const { root } = this.#options;
    const volumes: VolumeName[] = [];
    for (const namespace of await folders(root)) {
      for (const app of await folders(join(root, namespace))) {
        for (const name of await folders(join(root, namespace, app))) volumes.push({ namespace, app, name });
      }
    }
    return volumes;
  }

  async remove(volume: VolumeName): Promise<void> {
    const path = join(this.#options.root, ...partsOf(volume));
    await this.#removeFolder(path);
    for (const parent of [dirname(path), dirname(dirname(path))]) {
      try {
        await rmdir(parent);
      } catch {
        // other volumes are in it
        return;
      }
    }
  }

  /** The name goes first: what is half removed is never mounted again. */
  async #removeFolder(path: string): Promise<void> {
    const gone = join(this.#options.root, `.gone-${newContainerId()}`);
    try {
      await rename(path, gone);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw GantryError.from(error);
    }
    await this.#options.removeTree(gone);
  }
}

function bind(mount: Mount, source: string): PreparedMount {
  return { destination: checkTarget(mount.target), type: 'bind', source, options: bindOptions(mount.readOnly) };
}

/** Refuses names that could be paths before they become one. */
function partsOf({ namespace, app, name }: VolumeName): string[] {
  if (isName(namespace) && isName(app) && volumePattern.test(name)) return [namespace, app, name];
  throw new GantryError(
    Code.invalidArgument,
    `cannot use volume "${`${namespace}/${app}/${name}`.slice(0, 300)}": a name has letters, digits, "_", "." and "-" only`,
  );
}

function checkId(id: string): void {
  if (idPattern.test(id)) return;
  throw new GantryError(Code.invalidArgument, `cannot use container id "${id.slice(0, 100)}": must be letters and digits`);
}

/** The folder of these parts, made where it is missing; a symlink or a file in its place is refused. */
async function makeFolders(root: string, parts: readonly string[]): Promise<string> {
  let path = root;
  for (const part of parts) {
    path = join(path, part);
    await mkdir(path, { mode: 0o755 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw GantryError.from(error);
    });
    if ((await lstat(path)).isDirectory()) continue;
    throw new GantryError(Code.failedPrecondition, `cannot use volume folder "${path}": must be a folder, found something else`);
  }
  return path;
}

async function folders(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map((entry) => entry.name);
}
