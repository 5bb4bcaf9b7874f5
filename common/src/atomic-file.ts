import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface WriteOptions {
  /** Permission bits, default 0o600. */
  mode?: number;
  /** Whether it must survive a power cut (fsync of file and folder); default true. */
  durable?: boolean;
}

/** Replaces a file so that a reader, and a machine that stops, sees the old or the new one whole. */
export async function writeFileAtomic(path: string, data: Uint8Array | string, options: WriteOptions = {}): Promise<void> {
  const { mode = 0o600, durable = true } = options;
  // unique: two writers of one file must not share it
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  const file = await open(temporary, 'w', mode);
  try {
    await file.writeFile(data);
    if (durable) await file.datasync();
    await file.close();
    await rename(temporary, path);
  } catch (error) {
    await file.close().catch(() => undefined); // closed already when the rename failed
    await rm(temporary, { force: true });
    throw error;
  }
  if (!durable) return;
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
