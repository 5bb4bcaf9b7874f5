import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { Code } from '@gantry/common';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { sha256, type TarEntry, tar } from './tar-fixture.ts';
import { type Compression, createUnpacker } from './unpacker.ts';

const program = fileURLToPath(new URL('../../../native/build/gantry-unpack', import.meta.url));
const skipReason = !existsSync(program) ? 'native/build/gantry-unpack is not built' : process.getuid?.() !== 0 ? 'needs root' : '';

const base = mkdtempSync(join(tmpdir(), 'gantry-unpack-'));
const layers = join(base, 'layers');
const outside = join(base, 'outside');
const blob = join(base, 'blob');
const target = join(layers, 'layer');
const unpacker = createUnpacker(program);

beforeEach(() => {
  for (const folder of [layers, outside]) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { mode: 0o700 });
  }
  writeFileSync(join(outside, 'kept'), 'untouched', { mode: 0o600 });
});

afterAll(() => rmSync(base, { recursive: true, force: true }));

interface Attempt {
  compression?: Compression;
  diffId?: string;
  maxBytes?: number;
  signal?: AbortSignal;
}

async function unpack(stream: Uint8Array, attempt: Attempt = {}, packed: Uint8Array = stream) {
  writeFileSync(blob, packed);
  const { compression = 'none', diffId = sha256(stream), maxBytes = 2 ** 30, signal = new AbortController().signal } = attempt;
  return unpacker.unpack({ blob, compression, target, diffId, maxBytes }, signal);
}

function expectOutsideUntouched(): void {
  expect(readdirSync(outside)).toEqual(['kept']);
  expect(readFileSync(join(outside, 'kept'), 'utf8')).toBe('untouched');
  expect(statSync(join(outside, 'kept')).mode & 0o7777).toBe(0o600);
  expect(statSync(join(outside, 'kept')).nlink).toBe(1);
}

async function expectRefused(entries: readonly TarEntry[], message: RegExp): Promise<void> {
  await expect(unpack(tar(entries))).rejects.toMatchObject({ code: Code.failedPrecondition, message: expect.stringMatching(message) });
  expect(readdirSync(layers)).toEqual([]);
  expectOutsideUntouched();
}

function attributes(path: string): string[] {
  const list = 'import os,sys; print("\\n".join(n + "=" + os.getxattr(sys.argv[1], n).decode() for n in os.listxattr(sys.argv[1])))';
  return execFileSync('python3', ['-c', list, path], { encoding: 'utf8' }).trim().split('\n');
}

const deep = (depth: number) => Array.from({ length: depth }, () => 'a').join('/');

describe.skipIf(skipReason !== '')(`unpacking a hostile layer${skipReason && ` (${skipReason})`}`, () => {
  const refused: [string, TarEntry[], RegExp][] = [
    ['a name that climbs', [{ name: '../outside/kept', data: 'x' }], /must not contain "\.\."/],
    ['a name that climbs inside', [{ name: 'a/../../outside/kept', data: 'x' }], /must not contain/],
    [
      'a file beneath an absolute symlink',
      [
        { name: 'l', type: '2', link: outside },
        { name: 'l/kept', data: 'x' },
      ],
      /"l" must be a folder/,
    ],
    [
      'a file beneath a relative symlink',
      [
        { name: 'l', type: '2', link: '../../outside' },
        { name: 'l/new', data: 'x' },
      ],
      /must be a folder/,
    ],
    [
      'a file beneath a symlink in the middle',
      [
        { name: 'd', type: '5' },
        { name: 'd/l', type: '2', link: outside },
        { name: 'd/l/e/new', data: 'x' },
      ],
      /must be a folder/,
    ],
    ['a hard link that climbs', [{ name: 'h', type: '1', link: '../../outside/kept' }], /must not contain/],
    ['a hard link by absolute name', [{ name: 'h', type: '1', link: join(outside, 'kept') }], /cannot open folder/],
    [
      'a hard link through a symlink',
      [
        { name: 'l', type: '2', link: outside },
        { name: 'h', type: '1', link: 'l/kept' },
      ],
      /cannot open folder "l"/,
    ],
    [
      'a hard link to a folder',
      [
        { name: 'd', type: '5' },
        { name: 'h', type: '1', link: 'd' },
      ],
      /must name a file/,
    ],
    ['a hard link to the root', [{ name: 'h', type: '1', link: './' }], /must name a file/],
    ['a hard link to a whiteout', [{ name: '.wh.x' }, { name: 'h', type: '1', link: 'x' }], /must name a file/],
    ['a whiteout of ..', [{ name: '.wh...' }], /a whiteout must name a file/],
    ['a whiteout of .', [{ name: 'd/.wh..' }], /a whiteout must name a file/],
    ['a whiteout of nothing', [{ name: '.wh.' }], /a whiteout must name a file/],
    ['a folder named as a whiteout', [{ name: '.wh.d/x', data: 'x' }], /a folder must not be named/],
    ['an opaque mark through a symlink', [{ name: 'l', type: '2', link: outside }, { name: 'l/.wh..wh..opq' }], /must be a folder/],
    ['a whiteout through a symlink', [{ name: 'l', type: '2', link: outside }, { name: 'l/.wh.kept' }], /must be a folder/],
    ['an opaque root', [{ name: '.wh..wh..opq' }], /root must not be opaque/],
    ['a root that is a symlink', [{ name: './', type: '2', link: outside }], /root must be a folder/],
    ['a root that is a file', [{ name: '.', data: 'x' }], /root must be a folder/],
    ['a block device', [{ name: 'sda', type: '4', major: 8, minor: 0 }], /harmless ones, found block 8:0/],
    ['kernel memory', [{ name: 'mem', type: '3', major: 1, minor: 1 }], /found character 1:1/],
    ['a whiteout by its device', [{ name: 'w', type: '3' }], /found character 0:0/],
    ['a path of depth 2,000', [{ name: deep(2000), data: 'x' }], /at most 255 folders deep/],
    ['a name of 300 bytes', [{ name: 'n'.repeat(300), data: 'x' }], /at most 255 bytes, found 300/],
    ['a path above 3,072 bytes', [{ name: Array.from({ length: 20 }, () => 'n'.repeat(200)).join('/') }], /path must be below/],
    ['an owner that chown ignores', [{ name: 'f', pax: { uid: '4294967295' } }], /owner must be/],
    ['a file larger than the limit', [{ name: 'f', size: 8 ** 11 - 1 }], /at most 1073741824 bytes/],
    ['sparse files larger than the limit', [sparse('f', 2 ** 40)], /at most 1073741824 bytes/],
    [
      'attributes of 100 kB',
      [{ name: 'f', pax: { 'SCHILY.xattr.user.a': 'x'.repeat(50_000), 'SCHILY.xattr.user.b': 'x'.repeat(50_000) } }],
      /attribute/,
    ],
    ['a file cut off', [{ name: 'f', data: 'x', size: 100_000 }], /Truncated/],
  ];
  test.each(refused)('%s is refused and leaves nothing', async (_what, entries, message) => {
    await expectRefused([{ name: 'before', data: 'x' }, ...entries], message);
  });

  test('an absolute name lands in the layer', async () => {
    await unpack(tar([{ name: join(outside, 'kept'), data: 'inside' }]));
    expect(readFileSync(join(target, outside, 'kept'), 'utf8')).toBe('inside');
    expectOutsideUntouched();
  });

  test('a symlink out is kept as it is and a later entry of its name replaces it', async () => {
    await unpack(
      tar([
        { name: 'l', type: '2', link: join(outside, 'kept') },
        { name: 'm', type: '2', link: join(outside, 'kept'), mode: 0o777, uid: 7 },
        { name: 'l', data: 'mine', mode: 0o777 },
      ]),
    );
    expect(readFileSync(join(target, 'l'), 'utf8')).toBe('mine');
    expect(lstatSync(join(target, 'm')).isSymbolicLink()).toBe(true);
    expectOutsideUntouched();
  });

  test('a hard link to a symlink out links the symlink, and its mode is not applied', async () => {
    await unpack(
      tar([
        { name: 'l', type: '2', link: join(outside, 'kept') },
        { name: 'h', type: '1', link: 'l', mode: 0o4777 },
      ]),
    );
    expect(lstatSync(join(target, 'h')).ino).toBe(lstatSync(join(target, 'l')).ino);
    expectOutsideUntouched();
  });

  test('attributes that speak to the host or to overlayfs are dropped, the user ones stay', async () => {
    const hostile = [
      'trusted.overlay.redirect',
      'trusted.overlay.opaque',
      'security.capability',
      'security.selinux',
      'user.overlay.opaque',
    ];
    const pax = Object.fromEntries([...hostile, 'user.note'].map((name) => [`SCHILY.xattr.${name}`, 'y']));
    await unpack(
      tar([
        { name: 'd', type: '5', pax },
        { name: 'd/f', data: 'x', pax },
      ]),
    );
    for (const path of ['d', 'd/f']) {
      expect(attributes(join(target, path))).toEqual(['user.note=y']);
    }
  });

  test('a wrong diff id is refused after everything was read', async () => {
    const stream = tar([{ name: 'f', data: 'x' }]);
    await expect(unpack(stream, { diffId: sha256(Buffer.from('other')) })).rejects.toThrow(/diff id must be/);
    expect(readdirSync(layers)).toEqual([]);
  });

  test('bytes after the end of the archive belong to the diff id', async () => {
    const stream = Buffer.concat([tar([{ name: 'f', data: 'x' }]), Buffer.from('trailing')]);
    await unpack(stream);
    expect(readdirSync(target)).toEqual(['f']);
  });

  const bombs: [string, (data: Buffer) => Uint8Array, Compression][] = [
    ['gzip', (data) => gzipSync(data, { level: 9 }), 'gzip'],
    ['zstd', (data) => zstdCompressSync(data), 'zstd'],
  ];
  test.each(bombs)('a bomb in %s is refused long before its end', async (_what, compress, compression) => {
    // 200 MiB stand for any size: the refusal comes at 128 MiB.
    const size = 200 * 2 ** 20;
    const stream = tar([{ name: 'zeros', size }]).subarray(0, 512);
    const packed = compress(Buffer.concat([stream, Buffer.alloc(size)]));
    await expect(unpack(stream, { compression }, packed)).rejects.toThrow(/times as large as its blob/);
    expect(readdirSync(layers)).toEqual([]);
  });

  test('a stream above the limit is refused, behind the end of the archive too', async () => {
    const stream = Buffer.concat([tar([{ name: 'f', data: 'x' }]), Buffer.alloc(4 * 2 ** 20)]);
    await expect(unpack(stream, { compression: 'gzip', maxBytes: 2 ** 20 }, gzipSync(stream))).rejects.toThrow(/at most 1048576 bytes/);
    expect(readdirSync(layers)).toEqual([]);
  });

  test('a blob in another compression than said is refused', async () => {
    const stream = tar([{ name: 'f', data: 'x' }]);
    await expect(unpack(stream, { compression: 'zstd' }, gzipSync(stream))).rejects.toMatchObject({ code: Code.failedPrecondition });
    await expect(unpack(stream, { compression: 'none' }, gzipSync(stream))).rejects.toMatchObject({ code: Code.failedPrecondition });
    expect(readdirSync(layers)).toEqual([]);
  });

  test('garbage is refused', async () => {
    const garbage = Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 7919) % 251));
    await expect(unpack(garbage)).rejects.toMatchObject({ code: Code.failedPrecondition });
    expect(readdirSync(layers)).toEqual([]);
  });

  test('an abort stops it and leaves nothing', async () => {
    const stream = tar(Array.from({ length: 20_000 }, (_, index) => ({ name: `d${index % 100}/f${index}`, data: 'x' })));
    const controller = new AbortController();
    const attempt = unpack(stream, { signal: controller.signal });
    // The partial folder is what tells that the program is at work.
    await until(() => readdirSync(layers).length > 0);
    controller.abort();
    await expect(attempt).rejects.toMatchObject({ code: Code.cancelled });
    expect(readdirSync(layers)).toEqual([]);
  });
});

describe.skipIf(skipReason !== '')('unpacking an honest layer', () => {
  const stream = tar([
    { name: './', type: '5', mode: 0o755 },
    { name: './etc/', type: '5', mode: 0o750, uid: 5 },
    { name: './etc/motd', data: 'hello\n', mode: 0o4711, uid: 1000 },
    { name: './etc/link', type: '1', link: './etc/motd' },
    { name: './bin', type: '2', link: 'usr/bin' },
    { name: './run/pipe', type: '6', mode: 0o600 },
    { name: './dev/null', type: '3', major: 1, minor: 3, mode: 0o666 },
    { name: './gone/.wh.file' },
    { name: './full/.wh..wh..opq' },
    { name: './full/new', data: 'n' },
    { name: './again/.wh.sub' },
    { name: './again/sub/new', data: 'n' },
    { name: './größe', data: 'ö', pax: { path: './größe' } },
  ]);
  const kinds: [Compression, (data: Buffer) => Uint8Array][] = [
    ['none', (data) => data],
    ['gzip', (data) => Buffer.concat([gzipSync(data.subarray(0, 1000)), gzipSync(data.subarray(1000))])],
    ['zstd', (data) => zstdCompressSync(data)],
  ];

  test.each(kinds)('%s: content, owner, mode and time are as the archive says', async (compression, compress) => {
    const result = await unpack(stream, { compression }, compress(stream));
    expect(result.entries).toBeGreaterThanOrEqual(13);
    const motd = statSync(join(target, 'etc/motd'));
    expect([motd.mode & 0o7777, motd.uid, motd.nlink, motd.mtimeMs]).toEqual([0o4711, 1000, 2, 1e12]);
    const etc = statSync(join(target, 'etc'));
    expect([etc.mode & 0o7777, etc.uid, etc.mtimeMs]).toEqual([0o750, 5, 1e12]);
    expect(lstatSync(join(target, 'bin')).isSymbolicLink()).toBe(true);
    expect(lstatSync(join(target, 'run/pipe')).isFIFO()).toBe(true);
    expect(statSync(join(target, 'dev/null')).rdev).toBe(0x103);
    expect(readFileSync(join(target, 'größe'), 'utf8')).toBe('ö');
  });

  test('whiteouts become what overlayfs reads', async () => {
    await unpack(stream);
    const gone = lstatSync(join(target, 'gone/file'));
    expect([gone.isCharacterDevice(), gone.rdev]).toEqual([true, 0]);
    expect(readdirSync(join(target, 'full'))).toEqual(['new']);
    expect(readdirSync(join(target, 'again/sub'))).toEqual(['new']);
    expect(attributes(join(target, 'full'))).toEqual(['trusted.overlay.opaque=y']);
    expect(attributes(join(target, 'again/sub'))).toEqual(['trusted.overlay.opaque=y']);
  });

  test('an archive without padding and end mark is read, as some builders write it', async () => {
    const cut = tar([{ name: 'f', data: 'hello\n' }]).subarray(0, 518);
    await unpack(cut);
    expect(readFileSync(join(target, 'f'), 'utf8')).toBe('hello\n');
  });

  test('an empty blob is an empty layer', async () => {
    await unpack(Buffer.alloc(0));
    expect(readdirSync(target)).toEqual([]);
  });

  test('a tree deeper than any path can name is removed', () => {
    const dig = 'import os,sys; os.chdir(sys.argv[1])\nfor i in range(1500): os.mkdir("d"); open("f", "w").close(); os.chdir("d")';
    mkdirSync(target);
    execFileSync('python3', ['-c', dig, target]);
    return unpacker.remove(target).then(() => expect(readdirSync(layers)).toEqual([]));
  });

  test('a folder with names that are no text is removed', async () => {
    await unpack(tar([{ name: 'd\xff\xfe/f\xff', data: 'x' }]));
    await unpacker.remove(target);
    expect(readdirSync(layers)).toEqual([]);
    await unpacker.remove(target);
  });
});

/** A GNU sparse file of format 1.0: a map that says "no data", and a size that says much. */
function sparse(name: string, size: number): TarEntry {
  const pax = { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': name, 'GNU.sparse.realsize': String(size) };
  return {
    name: `GNUSparseFile.0/${name}`,
    data: Buffer.concat([Buffer.from(`1\n${size}\n0\n`), Buffer.alloc(500)]).subarray(0, 512),
    pax,
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
