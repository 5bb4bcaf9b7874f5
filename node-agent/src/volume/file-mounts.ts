import { createHash } from 'node:crypto';
import { chmod, chown, lstat, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Code, GantryError, writeFileAtomic } from '@gantry/common';
import type { Assignment, FileReference, ServiceKey } from '@gantry/proto';
import { bindOptions, checkTarget } from './mount-options.ts';
import type { PreparedMount } from './volumes.ts';

/** Which config or secret is wanted. */
export interface FileRequest {
  key: ServiceKey;
  secret: boolean;
  name: string;
  /** SHA-256 of the content in hex; empty when the assignment does not say. */
  digest: string;
}

/** Fetches the content of a config or secret from the control plane. */
export type FetchFile = (request: FileRequest, signal: AbortSignal) => Promise<Uint8Array>;

export interface FileMountsInput {
  assignment: Assignment;
  /** Folder of this container's files, on a file system in memory where the agent has one. */
  folder: string;
  fetchFile: FetchFile;
  signal: AbortSignal;
}

const defaultMode = 0o444;
const maxFileBytes = 4 * 2 ** 20;

/**
 * Writes a container's configs and secrets, each fetched once for the container's life, and describes their mounts.
 * The files lie in a folder that only root may enter; owner and mode are what the container sees.
 */
export async function prepareFiles(input: FileMountsInput): Promise<PreparedMount[]> {
  const container = input.assignment.spec?.container;
  const configs = (container?.configs ?? []).map((reference) => ({ reference, secret: false }));
  const secrets = (container?.secrets ?? []).map((reference) => ({ reference, secret: true }));
  const all = [...configs, ...secrets];
  if (all.length === 0) return [];
  await mkdir(input.folder, { recursive: true, mode: 0o700 });
  const mounts: PreparedMount[] = [];
  for (const [index, file] of all.entries()) mounts.push(await prepareFile(input, file.reference, file.secret, index));
  return mounts;
}

async function prepareFile(input: FileMountsInput, reference: FileReference, secret: boolean, index: number): Promise<PreparedMount> {
  const { assignment, folder, fetchFile, signal } = input;
  const kind = secret ? 'secret' : 'config';
  const { source: name } = reference;
  const destination = targetOf(reference, secret);
  const [uid, gid] = [owner(reference, reference.uid), owner(reference, reference.gid)];
  const digest = assignment.fileDigests[`${kind}/${name}`] ?? '';
  const path = join(folder, `${index}-${createHash('sha256').update(`${kind} ${name} ${digest}`).digest('hex').slice(0, 16)}`);
  if (!(await isThere(path))) {
    const key = assignment.key;
    if (!key) throw new GantryError(Code.invalidArgument, `cannot prepare container "${assignment.id}": it must belong to a service`);
    const content = await fetchFile({ key, secret, name, digest }, signal);
    checkContent(kind, name, digest, content);
    await writeFileAtomic(path, content, { mode: 0o600, durable: false });
  }
  await chown(path, uid, gid);
  await chmod(path, (reference.mode > 0 ? reference.mode : defaultMode) & 0o777);
  return { destination, type: 'bind', source: path, options: bindOptions(true) };
}

function targetOf({ source, target }: FileReference, secret: boolean): string {
  if (target.startsWith('/')) return checkTarget(target);
  return checkTarget(`${secret ? '/run/secrets' : ''}/${target || source}`);
}

function owner(reference: FileReference, text: string): number {
  if (text === '') return 0;
  if (/^\d{1,10}$/.test(text) && Number(text) < 2 ** 32 - 1) return Number(text);
  throw new GantryError(
    Code.invalidArgument,
    `cannot mount "${reference.source}": its owner must be a number, found "${text.slice(0, 50)}"`,
  );
}

function checkContent(kind: string, name: string, digest: string, content: Uint8Array): void {
  if (content.length > maxFileBytes) {
    throw new GantryError(Code.failedPrecondition, `cannot mount ${kind} "${name}": must be at most ${maxFileBytes} bytes`);
  }
  if (!/^[0-9a-f]{64}$/.test(digest)) return;
  const found = createHash('sha256').update(content).digest('hex');
  if (found !== digest)
    throw new GantryError(Code.dataLoss, `cannot mount ${kind} "${name}": its digest must be ${digest}, found ${found}`);
}

async function isThere(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isFile();
  } catch {
    // first start of the container
    return false;
  }
}
