import { lstat } from 'node:fs/promises';
import { join, normalize, parse, sep } from 'node:path';
import { Code, GantryError } from '@gantry/common';

function beneath(path: string, root: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);
}

/**
 * Checks a host path that a manifest wants to mount: it lies in an allowed root, every part of it from the file
 * system's root on is what it is named (no symlink), and it is a folder or a plain file.
 *
 * @throws GantryError permissionDenied outside the roots, failedPrecondition for a symlink or a missing path.
 */
export async function checkHostPath(path: string, roots: readonly string[]): Promise<string> {
  const refuse = (code: Code, must: string, hint?: string) =>
    new GantryError(code, `cannot mount host path "${path.slice(0, 200)}": ${must}`, hint === undefined ? {} : { details: { hint } });
  if (!path.startsWith('/') || path.includes('\0')) throw refuse(Code.invalidArgument, 'must be absolute');
  const clean = normalize(path).replace(/(?<=.)\/$/, '');
  if (!roots.some((root) => beneath(clean, normalize(root)))) {
    throw refuse(
      Code.permissionDenied,
      `must lie in ${roots.join(', ') || 'an allowed root, and there is none'}`,
      'see --bind-roots of the agent',
    );
  }
  let at = parse(clean).root;
  const parts = clean.slice(at.length).split(sep);
  for (const [index, part] of parts.entries()) {
    at = join(at, part);
    const found = await lstatOrUndefined(at);
    if (!found) throw refuse(Code.failedPrecondition, `"${at}" must exist on this node`);
    if (found.isSymbolicLink()) throw refuse(Code.failedPrecondition, `must not lead through a symlink, found one at "${at}"`);
    const last = index === parts.length - 1;
    if (!found.isDirectory() && !(last && found.isFile()))
      throw refuse(Code.failedPrecondition, `"${at}" must be a folder or a plain file`);
  }
  return clean;
}

async function lstatOrUndefined(path: string) {
  try {
    return await lstat(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined;
    throw error;
  }
}
