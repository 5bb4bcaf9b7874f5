import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { Code, GantryError } from '@gantry/common';
import type { User } from './oci.ts';

/** Larger files are refused: nobody has that many users, but an image may pretend to. */
const mostBytes = 1024 * 1024;
const largestId = 2 ** 32 - 2;

/** A user as the container's process gets it. */
export interface ResolvedUser extends User {
  /** Home folder by the image's passwd file; "/" for one that is not in it. */
  home: string;
}

function isWhiteout(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0;
}

function lstat(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    // not in this layer
    return undefined;
  }
}

/**
 * A file of /etc of an image, as its layers (top-most first) show it; empty when there is none.
 * Nothing of the image is followed: the folder and the file must be real, in whichever layer has them.
 * @throws GantryError failedPrecondition when it is no regular file of at most 1 MiB.
 */
function readEtcFile(layers: readonly string[], name: 'passwd' | 'group'): string {
  for (const layer of layers) {
    const folder = lstat(join(layer, 'etc'));
    if (!folder) continue;
    if (isWhiteout(folder)) return '';
    const path = join(layer, 'etc', name);
    if (!folder.isDirectory()) throw refuse(name, 'its folder /etc is not a folder');
    const stats = lstat(path);
    if (!stats) continue;
    return isWhiteout(stats) ? '' : readRegular(path, name);
  }
  return '';
}

function refuse(name: string, found: string): GantryError {
  return new GantryError(Code.failedPrecondition, `cannot read "/etc/${name}" of the image: must be a regular file, ${found}`, {
    details: { hint: 'name the user by number' },
  });
}

function readRegular(path: string, name: string): string {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw refuse(name, `found one that does not open (${GantryError.from(error).message})`);
  }
  try {
    const stats = fstatSync(file);
    if (!stats.isFile()) throw refuse(name, 'found another kind of file');
    if (stats.size > mostBytes) throw refuse(name, `found one of ${stats.size} bytes (at most ${mostBytes})`);
    const buffer = Buffer.alloc(stats.size);
    const length = readSync(file, buffer, 0, stats.size, 0);
    return buffer.toString('latin1', 0, length);
  } finally {
    closeSync(file);
  }
}

function idOf(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) && Number(text) <= largestId ? Number(text) : undefined;
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

function passwdEntries(text: string): PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , uid = '', gid = '', , home = ''] = line.split(':');
    const ids = [idOf(uid), idOf(gid)];
    if (name === '' || ids[0] === undefined || ids[1] === undefined) return [];
    return [{ name, uid: ids[0], gid: ids[1], home: home.startsWith('/') ? home : '/' }];
  });
}

function groupEntries(text: string): { name: string; gid: number; members: string[] }[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , gid = '', members = ''] = line.split(':');
    const id = idOf(gid);
    return name === '' || id === undefined ? [] : [{ name, gid: id, members: members.split(',') }];
  });
}

/**
 * Looks up "user", "uid", "user:group" or "uid:gid" in the image's own files; empty is root.
 * @throws GantryError failedPrecondition for a name that the image does not have, invalidArgument for an id out of range.
 */
export function resolveUser(text: string, layers: readonly string[]): ResolvedUser {
  const [userText = '', groupText, ...rest] = text.split(':');
  const wrong = () => new GantryError(Code.invalidArgument, `cannot use user "${text}": must be a name or a number up to ${largestId}`);
  if (rest.length > 0 || /^\d/.test(userText) !== (idOf(userText) !== undefined)) throw wrong();
  const uid = userText === '' ? 0 : idOf(userText);
  const entry = passwdEntries(readEtcFile(layers, 'passwd')).find(({ name, uid: id }) =>
    uid === undefined ? name === userText : id === uid,
  );
  if (uid === undefined && !entry) throw notThere('user', userText);
  const groups = groupEntries(readEtcFile(layers, 'group'));
  const user = { uid: uid ?? entry!.uid, home: entry?.home ?? '/' };
  if (groupText !== undefined && groupText !== '') {
    if (/^\d/.test(groupText) !== (idOf(groupText) !== undefined)) throw wrong();
    const gid = idOf(groupText) ?? groups.find(({ name }) => name === groupText)?.gid;
    if (gid === undefined) throw notThere('group', groupText);
    return { ...user, gid };
  }
  const gid = entry?.gid ?? 0;
  const additional = groups.filter(({ members, gid: id }) => entry && id !== gid && members.includes(entry.name)).map((group) => group.gid);
  return { ...user, gid, ...(additional.length > 0 ? { additionalGids: additional.slice(0, 64) } : {}) };
}

function notThere(kind: string, name: string): GantryError {
  return new GantryError(
    Code.failedPrecondition,
    `cannot use ${kind} "${name}": must be in the image's /etc/${kind === 'user' ? 'passwd' : 'group'}`,
    {
      details: { hint: `name the ${kind} by number` },
    },
  );
}
