import { watch } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { type LogFile, listLogFiles, tailPosition } from './log-files.ts';
import { type LogLine, parseLine } from './log-line.ts';

const chunkBytes = 64 * 1024;
const newline = 0x0a;
/** A container's line of more than this is handed on in pieces. */
const longestLine = 256 * 1024;
/** A look at the files although no change was told. */
const pollMs = 1000;

export interface ReadLogOptions {
  /** The folder of the log, asked anew when it was not found: it moves when the container is removed. */
  folder: () => string | undefined;
  follow: boolean;
  /** Microseconds since the epoch; 0 is no bound. */
  since: number;
  until: number;
  /** Lines from the end; 0 is all. */
  tail: number;
  /** While following: whether nothing more will be written. */
  ended: () => boolean;
  signal: AbortSignal;
}

/** The container's log in order, in batches of lines; follows through rotations when asked to. */
export async function* readLog(options: ReadLogOptions): AsyncGenerator<LogLine[], void, void> {
  const { folder, follow, tail, ended, signal } = options;
  const changes = new Changes();
  const joiner = new LineJoiner(options);
  let current: OpenLog | undefined;
  try {
    let files = await listLogFiles(folder() ?? '');
    const begin = tail > 0 ? await tailPosition(files, tail) : { index: 0, offset: 0 };
    const first = files[begin.index];
    if (first) current = await OpenLog.open(first, begin.offset);
    while (!signal.aborted) {
      // asked before the read: what is written until the container has ended is then read for certain
      const last = !follow || ended();
      if (follow) changes.watch(folder());
      yield* drain(current, joiner, signal);
      if (joiner.done) return;
      files = await listLogFiles(folder() ?? '');
      const next = follower(files, current);
      if (next) {
        // what was written before it was rotated away, but after the read above
        yield* drain(current, joiner, signal);
        await current?.close();
        joiner.flushFile();
        current = await OpenLog.open(next, 0);
      } else if (last) {
        return;
      } else {
        await changes.wait(signal);
      }
    }
  } finally {
    changes.close();
    await current?.close();
  }
}

/** Everything up to the present end of the file. */
async function* drain(current: OpenLog | undefined, joiner: LineJoiner, signal: AbortSignal): AsyncGenerator<LogLine[], void, void> {
  for (let chunk = await current?.read(); chunk && !signal.aborted && !joiner.done; chunk = await current?.read()) {
    const lines = joiner.push(chunk);
    if (lines.length > 0) yield lines;
  }
}

/** The file after the one that was read; undefined at the newest. One that was rotated away is followed by the oldest. */
function follower(files: readonly LogFile[], current: OpenLog | undefined): LogFile | undefined {
  const index = files.findIndex(({ inode }) => inode === current?.inode);
  return index >= 0 ? files[index + 1] : files[0];
}

/** A log file that is being read; it stays readable when it is renamed or removed. */
class OpenLog {
  readonly inode: number;
  readonly #handle: FileHandle;
  #offset: number;

  private constructor(handle: FileHandle, inode: number, offset: number) {
    this.#handle = handle;
    this.inode = inode;
    this.#offset = offset;
  }

  static async open(file: LogFile, offset: number): Promise<OpenLog | undefined> {
    const handle = await open(file.path, 'r').catch(() => undefined);
    if (!handle) return undefined;
    // the name may belong to another file by now
    const { ino } = await handle.stat();
    return new OpenLog(handle, ino, ino === file.inode ? offset : 0);
  }

  /** What follows; undefined at the end. */
  async read(): Promise<Buffer | undefined> {
    const buffer = Buffer.allocUnsafe(chunkBytes);
    const { bytesRead } = await this.#handle.read(buffer, 0, chunkBytes, this.#offset);
    this.#offset += bytesRead;
    return bytesRead > 0 ? buffer.subarray(0, bytesRead) : undefined;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** Cuts bytes into lines, joins what the monitor split, and keeps to the wanted time. */
class LineJoiner {
  readonly #since: number;
  readonly #until: number;
  #rest: Buffer = Buffer.alloc(0);
  #partial: Record<LogLine['stream'], Buffer[]> = { stdout: [], stderr: [] };
  /** A line after `until` was seen. */
  done = false;

  constructor({ since, until }: Pick<ReadLogOptions, 'since' | 'until'>) {
    this.#since = since;
    this.#until = until;
  }

  push(chunk: Buffer): LogLine[] {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    const lines: LogLine[] = [];
    let begin = 0;
    for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, begin)) {
      const line = this.#line(bytes.subarray(begin, end));
      begin = end + 1;
      if (line) lines.push(line);
      if (this.done) break;
    }
    // a garbled file without newlines must not be collected
    this.#rest = bytes.length - begin > longestLine ? Buffer.alloc(0) : bytes.subarray(begin);
    return lines;
  }

  /** The next bytes are of another file. */
  flushFile(): void {
    this.#rest = Buffer.alloc(0);
  }

  #line(bytes: Buffer): LogLine | undefined {
    const line = parseLine(bytes);
    if (!line || line.at < this.#since) return undefined;
    if (this.#until > 0 && line.at > this.#until) {
      this.done = true;
      return undefined;
    }
    const pieces = this.#partial[line.stream];
    pieces.push(line.text);
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (line.partial && length < longestLine) return undefined;
    this.#partial[line.stream] = [];
    return { ...line, text: pieces.length === 1 ? line.text : Buffer.concat(pieces) };
  }
}

/** Waits for a change in a folder. */
class Changes {
  #watcher: ReturnType<typeof watch> | undefined;
  #folder: string | undefined;
  #changed = true;
  #wake: () => void = () => {};

  watch(folder: string | undefined): void {
    if (folder === this.#folder && this.#watcher) return;
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#folder = folder;
    if (folder === undefined) return;
    try {
      this.#watcher = watch(folder, () => this.#notify());
      this.#watcher.on('error', () => this.#notify());
    } catch {
      // no folder yet, or no watches left: polling alone
    }
  }

  #notify(): void {
    this.#changed = true;
    this.#wake();
  }

  /** Resolves at the next change, at the latest after a second, or when the signal is aborted. */
  async wait(signal: AbortSignal): Promise<void> {
    if (!this.#changed && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pollMs);
        signal.addEventListener('abort', () => resolve(), { once: true });
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = () => {};
    }
    this.#changed = false;
  }

  close(): void {
    this.#watcher?.close();
  }
}
