import { createHash } from 'node:crypto';

/** One entry of an archive that a test makes; nothing is checked, so that it may be as hostile as it likes. */
export interface TarEntry {
  name: string;
  /** "0" file (default), "1" hard link, "2" symlink, "3" character, "4" block device, "5" folder, "6" FIFO. */
  type?: string;
  data?: string | Uint8Array;
  link?: string;
  mode?: number;
  uid?: number;
  major?: number;
  minor?: number;
  /** Claimed size; default the data's. */
  size?: number;
  /** Records of a pax header before the entry. */
  pax?: Readonly<Record<string, string>>;
}

const block = 512;

function octal(value: number, width: number): string {
  return `${Math.min(value, 8 ** (width - 1) - 1)
    .toString(8)
    .padStart(width - 1, '0')}\0`;
}

function header(entry: TarEntry, size: number): Buffer {
  const { name, type = '0', link = '', mode = 0o644, uid = 0, major = 0, minor = 0 } = entry;
  const bytes = Buffer.alloc(block);
  bytes.write(name.slice(0, 100), 0, 'latin1');
  bytes.write(octal(mode, 8) + octal(uid, 8) + octal(0, 8) + octal(size, 12) + octal(1_000_000_000, 12), 100, 'latin1');
  bytes.write(`        ${type}`, 148, 'latin1');
  bytes.write(link.slice(0, 100), 157, 'latin1');
  bytes.write('ustar\x0000', 257, 'latin1');
  bytes.write(octal(major, 8) + octal(minor, 8), 329, 'latin1');
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${octal(sum, 7)} `, 148, 'latin1');
  return bytes;
}

function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((block - (data.length % block)) % block)]);
}

function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + 1;
  while (String(length).length + rest !== length) length = String(length).length + rest;
  return `${length} ${key}=${value}\n`;
}

function encode(entry: TarEntry): Buffer[] {
  const data = Buffer.from(entry.data ?? '');
  const records = { ...entry.pax };
  if (entry.name.length > 100) records.path ??= entry.name;
  if ((entry.link ?? '').length > 100) records.linkpath ??= entry.link!;
  const pax = Buffer.from(
    Object.entries(records)
      .map(([key, value]) => paxRecord(key, value))
      .join(''),
  );
  const before = pax.length > 0 ? [header({ name: 'pax', type: 'x' }, pax.length), padded(pax)] : [];
  return [...before, header(entry, entry.size ?? data.length), padded(data)];
}

/** The archive of the entries, with its end mark. */
export function tar(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(encode), Buffer.alloc(2 * block)]);
}

export function sha256(data: Uint8Array): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`;
}
