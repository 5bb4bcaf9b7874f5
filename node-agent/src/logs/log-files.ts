import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** One file of a container's log. */
export interface LogFile {
  path: string;
  inode: number;
  bytes: number;
}

const chunkBytes = 64 * 1024;
const newline = 0x0a;

/** A container's log files, oldest first: log.2, log.1, log. Empty when the folder is gone. */
export async function listLogFiles(folder: string): Promise<LogFile[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch {
    // moved or removed meanwhile
    return [];
  }
  const numbered = names.flatMap((name) => {
    const match = /^log(?:\.(\d{1,4}))?$/.exec(name);
    return match ? [{ name, number: Number(match[1] ?? 0) }] : [];
  });
  numbered.sort((a, b) => b.number - a.number);
  const files: LogFile[] = [];
  for (const { name } of numbered) {
    const path = join(folder, name);
    const stats = await stat(path).catch(() => undefined);
    // a rotation between two of these looks shows one file under two names
    if (stats?.isFile() && files.every(({ inode }) => inode !== stats.ino)) files.push({ path, inode: stats.ino, bytes: stats.size });
  }
  return files;
}

/** Where reading begins so that the last `lines` lines follow: an index into `files` and an offset in that file. */
export async function tailPosition(files: readonly LogFile[], lines: number): Promise<{ index: number; offset: number }> {
  let missing = lines;
  for (let index = files.length - 1; index >= 0; index--) {
    const { path, bytes } = files[index]!;
    const handle = await open(path, 'r').catch(() => undefined);
    if (!handle) return { index: index + 1, offset: 0 };
    try {
      const found = await linesFromEnd(handle, bytes, missing);
      if (found.offset > 0 || found.lines >= missing) return { index, offset: found.offset };
      missing -= found.lines;
    } finally {
      await handle.close();
    }
  }
  return { index: 0, offset: 0 };
}

/** The offset of the wanted-th last line, or 0 with the number of lines that there are. */
async function linesFromEnd(handle: FileHandle, bytes: number, wanted: number): Promise<{ lines: number; offset: number }> {
  const buffer = Buffer.alloc(chunkBytes);
  let lines = 0;
  for (let end = bytes; end > 0; end -= chunkBytes) {
    const begin = Math.max(0, end - chunkBytes);
    const { bytesRead } = await handle.read(buffer, 0, end - begin, begin);
    for (let at = bytesRead - 1; at >= 0; at--) {
      if (buffer[at] !== newline) continue;
      // the newline at the very end closes the last line
      if (begin + at === bytes - 1) continue;
      lines++;
      if (lines === wanted) return { lines, offset: begin + at + 1 };
    }
  }
  return { lines: bytes > 0 ? lines + 1 : lines, offset: 0 };
}
