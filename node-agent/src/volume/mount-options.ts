import { posix } from 'node:path';
import { Code, GantryError } from '@gantry/common';
import type { Mount } from '@gantry/proto';
import type { PreparedMount } from './volumes.ts';

const defaultTmpfsBytes = 64 * 2 ** 20;
const defaultTmpfsMode = 0o1777;

/** Places that the runtime fills itself; a mount over them would undo its masks. */
const reserved = /^\/(?:$|proc(?:\/|$)|sys(?:\/|$)|dev$)/;

/**
 * A mount's place in the container, as it is written in the configuration.
 * @throws GantryError invalidArgument when it is not absolute or is the runtime's own.
 */
export function checkTarget(target: string): string {
  if (!target.startsWith('/') || target.includes('\0') || target.length > 4095) {
    throw new GantryError(Code.invalidArgument, `cannot mount at "${target.slice(0, 200)}": must be an absolute path`);
  }
  const clean = posix.normalize(target).replace(/(?<=.)\/$/, '');
  if (reserved.test(clean)) throw new GantryError(Code.invalidArgument, `cannot mount at "${target}": the runtime needs it itself`);
  return clean;
}

/** Options of a bind mount: never setuid, never a device, never seen by other mount namespaces. */
export function bindOptions(readOnly: boolean): string[] {
  // Without recursion when read-only: mounts beneath would stay writable.
  return [readOnly ? 'bind' : 'rbind', 'rprivate', 'nosuid', 'nodev', readOnly ? 'ro' : 'rw'];
}

/** A tmpfs as Compose describes it: 64 MiB and sticky for all when nothing is said. */
export function tmpfsMount(mount: Mount): PreparedMount {
  const bytes = mount.tmpfsBytes > 0 ? mount.tmpfsBytes : defaultTmpfsBytes;
  const mode = (mount.tmpfsMode > 0 ? mount.tmpfsMode : defaultTmpfsMode) & 0o1777;
  const options = ['nosuid', 'nodev', 'noexec', `mode=${mode.toString(8)}`, `size=${bytes}`];
  if (mount.readOnly) options.push('ro');
  return { destination: checkTarget(mount.target), type: 'tmpfs', source: 'tmpfs', options };
}

/**
 * Outer mounts before inner ones, so that none hides another.
 * @throws GantryError invalidArgument when two have the same place.
 */
export function orderMounts(mounts: readonly PreparedMount[]): PreparedMount[] {
  const seen = new Set<string>();
  for (const { destination } of mounts) {
    if (seen.has(destination)) throw new GantryError(Code.invalidArgument, `cannot mount at "${destination}": it is named twice`);
    seen.add(destination);
  }
  const depth = (mount: PreparedMount) => mount.destination.split('/').length;
  return mounts.toSorted((a, b) => depth(a) - depth(b));
}
