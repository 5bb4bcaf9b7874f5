import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, GantryError, ManualClock, silentLogger } from '@gantry/common';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeRegistry } from './fake-registry.ts';
import { FakeUnpacker } from './fake-unpacker.ts';
import type { ImageStore, PullProgress } from './images.ts';
import { openImageStore } from './store.ts';

let root: string;
let clock: ManualClock;
let registry: FakeRegistry;
let unpacker: FakeUnpacker;
let store: ImageStore;

const { signal } = new AbortController();
const [one, two, three] = ['one', 'two', 'three'].map((text) => Buffer.from(`layer ${text}`)) as [Buffer, Buffer, Buffer];
const web = 'reg.test/team/web:v1';

async function open(limits = {}): Promise<ImageStore> {
  const platform = { os: 'linux', architecture: 'amd64' };
  return openImageStore({ root, registry, unpacker, clock, log: silentLogger(), random: () => 0, platform, limits });
}

beforeEach(async () => {
  root = join(mkdtempSync(join(tmpdir(), 'gantry-images-')), 'images');
  [clock, registry, unpacker] = [new ManualClock(), new FakeRegistry(), new FakeUnpacker()];
  store = await open();
});

afterEach(async () => {
  await store.close();
  rmSync(join(root, '..'), { recursive: true, force: true });
});

/** Everything but the fixed folders and the index. */
function stored(): string[] {
  const all = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return all.filter((name) => /^(blobs\/sha256|layers|tmp)\//.test(name) && name !== 'layers/empty');
}

describe('an image store', () => {
  test('pulls an image once and then answers without a registry', async () => {
    const digest = registry.push('team/web:v1', [one, two], { config: { config: { Entrypoint: ['/web'], User: '7' } } });
    const progress: PullProgress[] = [];
    const image = await store.ensure(web, { signal, onProgress: (step) => progress.push(step) });
    expect(image).toMatchObject({ reference: web, digest, manifestDigest: digest, config: { entrypoint: ['/web'], user: '7' } });
    expect(image.layers.map((layer) => readdirSync(layer))).toEqual([['content'], ['content']]);
    expect(unpacker.unpacked).toHaveLength(2);
    expect(image.layers[0]).toContain(unpackedFolder(two));
    expect(progress.at(-1)).toEqual({ doneBytes: 18, totalBytes: 18, layersDone: 2, layersTotal: 2 });
    const calls = registry.calls.length;
    expect(await store.ensure(web, { signal })).toEqual(image);
    expect(store.present(web)).toEqual(image);
    expect(registry.calls).toHaveLength(calls);
    expect(store.list()).toEqual([
      { references: [web], digest, sizeBytes: image.sizeBytes, pulledAtUs: clock.nowUs(), usedAtUs: clock.nowUs() },
    ]);
  });

  test('unpacks a layer once, however many images have it', async () => {
    registry.push('team/web:v1', [one, two]);
    registry.push('team/api:v1', [one, three]);
    await store.ensure(web, { signal });
    await store.ensure('reg.test/team/api:v1', { signal });
    expect(unpacker.unpacked).toHaveLength(3);
    expect(registry.calls.filter((call) => call.startsWith('blob')).length).toBe(5);
  });

  test('resolves a tag once for each pin, and gives each pin the same image ever after', async () => {
    const first = registry.push('team/web:v1', [one]);
    expect((await store.ensure(web, { signal, pin: 'u/1' })).digest).toBe(first);
    const second = registry.push('team/web:v1', [two]);
    expect((await store.ensure(web, { signal, pin: 'u/1' })).digest).toBe(first);
    expect((await store.ensure(web, { signal, pin: 'u/2' })).digest).toBe(second);
    expect((await store.ensure(web, { signal, pin: 'u/1' })).digest).toBe(first);
    expect(registry.calls.filter((call) => call.startsWith('resolve'))).toHaveLength(2);
    expect(store.present(web)?.digest).toBe(second);
    expect(store.present(web, 'u/3')).toBeUndefined();
    await store.collect({ inUse: [first, second] });
    const again = await open();
    expect(again.present(web, 'u/1')?.digest).toBe(first);
    expect(again.present(web, 'u/2')?.digest).toBe(second);
  });

  test('never resolves a reference with a digest', async () => {
    const digest = registry.push('team/web:v1', [one]);
    expect((await store.ensure(`${web}@${digest}`, { signal, pin: 'u/1' })).digest).toBe(digest);
    expect(registry.calls.filter((call) => call.startsWith('resolve'))).toEqual([]);
    expect(store.present(`other.test/x@${digest}`, 'u/2')?.digest).toBe(digest);
  });

  test('takes the known image of a tag when its registry cannot be asked, but not when the tag is gone', async () => {
    const digest = registry.push('team/web:v1', [one]);
    await store.ensure(web, { signal, pin: 'u/1' });
    registry.failure = new GantryError(Code.unavailable, 'down');
    expect((await store.ensure(web, { signal, pin: 'u/2' })).digest).toBe(digest);
    registry.failure = new GantryError(Code.notFound, 'gone');
    await expect(store.ensure(web, { signal, pin: 'u/3' })).rejects.toMatchObject({ code: Code.notFound });
  });

  test('joins pulls of the same image, and downloads of the same layer', async () => {
    registry.push('team/web:v1', [one, two]);
    registry.push('team/api:v1', [one, three]);
    const release = registry.hold();
    const pulls = [web, web, 'reg.test/team/api:v1'].map((reference, index) => store.ensure(reference, { signal, pin: `u/${index}` }));
    await until(() => registry.calls.filter((call) => call.startsWith('blob')).length >= 2);
    release();
    await Promise.all(pulls);
    expect(registry.calls.filter((call) => call.startsWith('blob'))).toHaveLength(5);
    expect(unpacker.unpacked).toHaveLength(3);
  });

  test('ends a pull when the last caller has given up, and leaves nothing half done', async () => {
    registry.push('team/web:v1', [one]);
    const release = registry.hold();
    const callers = [new AbortController(), new AbortController()];
    const pulls = callers.map((caller) => store.ensure(web, { signal: caller.signal }));
    await until(() => registry.calls.some((call) => call.startsWith('blob')));
    callers[0]!.abort();
    await expect(pulls[0]).rejects.toMatchObject({ code: Code.cancelled });
    callers[1]!.abort();
    await expect(pulls[1]).rejects.toMatchObject({ code: Code.cancelled });
    release();
    await until(() => readdirSync(join(root, 'tmp')).length === 0);
    expect(store.list()).toEqual([]);
    expect((await store.ensure(web, { signal })).layers).toHaveLength(1);
  });

  test('goes on with a broken transfer where it stopped', async () => {
    registry.push('team/web:v1', [Buffer.alloc(1000, 'x')]);
    Object.assign(registry, { breakAfter: 300, breaks: 3 });
    const pull = store.ensure(web, { signal });
    const offsets = () => registry.calls.flatMap((call) => /@(\d+)$/.exec(call)?.[1] ?? []);
    await until(async () => {
      await clock.advance(500);
      return offsets().length >= 5;
    });
    await pull;
    expect(offsets().filter((offset) => offset !== '0')).toEqual(['300', '600', '900']);
  });

  test('gives up a transfer that brings nothing new, and says why', async () => {
    registry.push('team/web:v1', [Buffer.alloc(1000, 'x')]);
    Object.assign(registry, { breakAfter: 0, breaks: 100 });
    const pull = store.ensure(web, { signal });
    let failure: unknown;
    pull.catch((error: unknown) => {
      failure = error;
    });
    await until(async () => {
      await clock.advance(3000);
      return failure !== undefined;
    });
    expect(failure).toMatchObject({ code: Code.unavailable });
    expect(registry.calls.filter((call) => call.endsWith('@0'))).toHaveLength(3);
    expect(readdirSync(join(root, 'tmp'))).toEqual([]);
  });

  test('gives up a transfer that brings a byte each time', async () => {
    registry.push('team/web:v1', []);
    Object.assign(registry, { breakAfter: 1, breaks: 1000 });
    let failure: unknown;
    store.ensure(web, { signal }).catch((error: unknown) => {
      failure = error;
    });
    await until(async () => {
      await clock.advance(3000);
      return failure !== undefined;
    });
    expect(failure).toMatchObject({ code: Code.unavailable });
    expect(registry.calls.filter((call) => call.startsWith('blob'))).toHaveLength(30);
  });

  test('names an empty folder as the only layer of an image without layers', async () => {
    registry.push('team/web:v1', []);
    const { layers } = await store.ensure(web, { signal });
    expect(layers).toEqual([join(root, 'layers/empty')]);
    expect(readdirSync(layers[0]!)).toEqual([]);
  });

  test('names a layer that occurs twice once, where it lies on top', async () => {
    registry.push('team/web:v1', [one, two, one]);
    const { layers } = await store.ensure(web, { signal });
    expect(layers.map((layer) => layer.split('/').at(-1))).toEqual([unpackedFolder(one), unpackedFolder(two)]);
  });
});

describe('a refused image', () => {
  const lie = `sha256:${'0'.repeat(64)}`;
  const cases: [string, () => void, RegExp][] = [
    ['a layer of other content', () => corrupt(two), /must have digest/],
    ['a layer that is longer than said', () => corrupt(two, Buffer.concat([two, two])), /bytes, found more/],
    [
      'a wrong diff id',
      () => registry.push('team/web:v1', [one, two], { config: { rootfs: { diff_ids: [lie, lie] } } }),
      /diff id must be/,
    ],
    [
      'too few diff ids',
      () => registry.push('team/web:v1', [one, two], { config: { rootfs: { diff_ids: [lie] } } }),
      /for each of 2 layers/,
    ],
    ['another architecture', () => registry.push('team/web:v1', [one], { config: { architecture: 's390x' } }), /for linux\/amd64/],
    ['a garbled config', () => registry.push('team/web:v1', [one], { config: { rootfs: { diff_ids: 'x' } } }), /must be a list/],
    ['no image', () => registry.push('team/web:v1', [one], { manifest: { layers: 5 } }), /list layers/],
  ];

  test.each(cases)('with %s leaves nothing in the store', async (_what, prepare, message) => {
    registry.push('team/web:v1', [one, two]);
    prepare();
    await expect(store.ensure(web, { signal })).rejects.toMatchObject({
      code: Code.failedPrecondition,
      message: expect.stringMatching(message),
    });
    expect(stored()).toEqual([]);
    expect(store.list()).toEqual([]);
  });

  test('leaves what another image needs', async () => {
    registry.push('team/api:v1', [one]);
    await store.ensure('reg.test/team/api:v1', { signal });
    const before = stored();
    registry.push('team/web:v1', [one, two]);
    corrupt(two);
    await expect(store.ensure(web, { signal })).rejects.toThrow(/must have digest/);
    expect(stored()).toEqual(before);
  });

  test('is one whose layers are larger than the store allows', async () => {
    await store.close();
    store = await open({ maxImageBytes: 15 });
    registry.push('team/web:v1', [one, two]);
    await expect(store.ensure(web, { signal })).rejects.toThrow(/at most 15 bytes, found 18/);
  });

  function corrupt(layer: Buffer, bytes = Buffer.alloc(layer.length, '!')): void {
    for (const [digest, blob] of registry.blobs) if (blob.equals(layer)) registry.blobs.set(digest, bytes);
  }
});

describe('the store on disk', () => {
  test('is found again by the next process, and cleaned of what was not whole', async () => {
    registry.push('team/web:v1', [one, two]);
    const image = await store.ensure(web, { signal });
    writeFileSync(join(root, 'tmp/half'), 'x');
    writeFileSync(join(root, 'blobs/sha256/half.tmp'), 'x');
    mkdirSync(join(root, 'layers/.partial-1-abc/deep'), { recursive: true });
    const before = stored().filter((name) => !/half|partial/.test(name));
    const again = await open();
    expect(again.present(web)).toEqual(image);
    expect(stored()).toEqual(before);
  });

  const damages: [string, () => void][] = [
    ['an index that is cut off', () => writeFileSync(join(root, 'index.json'), '{"version":1,"im')],
    ['an index of zeros', () => writeFileSync(join(root, 'index.json'), Buffer.alloc(100))],
    ['an index of another form', () => writeFileSync(join(root, 'index.json'), '{"version":1,"images":[null],"references":null,"pins":5}')],
    ['no index', () => rmSync(join(root, 'index.json'))],
    ['documents of zeros', () => everyBlob((path) => writeFileSync(path, Buffer.alloc(50)))],
    ['no documents', () => everyBlob((path) => rmSync(path))],
    ['a layer that is gone', () => rmSync(join(root, 'layers', unpackedFolder(one)), { recursive: true })],
  ];
  test.each(damages)('with %s opens without the image, which can be pulled again', async (_what, damage) => {
    registry.push('team/web:v1', [one, two]);
    await store.ensure(web, { signal });
    damage();
    store = await open();
    expect(store.present(web)).toBeUndefined();
    if (_what !== 'documents of zeros') expect((await store.ensure(web, { signal })).layers).toHaveLength(2);
  });

  function everyBlob(act: (path: string) => void): void {
    for (const name of readdirSync(join(root, 'blobs/sha256'))) act(join(root, 'blobs/sha256', name));
  }

  test('loses an image with what only it used, on removal by reference or digest', async () => {
    const first = registry.push('team/web:v1', [one, two]);
    registry.push('team/api:v1', [one, three]);
    await store.ensure(web, { signal });
    const image = await store.ensure('reg.test/team/api:v1', { signal });
    await store.remove(first);
    expect(store.list().map((entry) => entry.references)).toEqual([['reg.test/team/api:v1']]);
    expect(image.layers.every((layer) => existsSync(layer))).toBe(true);
    expect(existsSync(join(root, 'layers', unpackedFolder(two)))).toBe(false);
    await store.remove('reg.test/team/api:v1');
    expect(stored()).toEqual([]);
    await expect(store.remove(web)).rejects.toMatchObject({ code: Code.notFound });
  });

  test('is collected: unused images go after their time, used ones and their layers stay', async () => {
    registry.push('team/web:v1', [one, two]);
    registry.push('team/api:v1', [one, three]);
    const kept = await store.ensure(web, { signal });
    const gone = await store.ensure('reg.test/team/api:v1', { signal });
    expect(await store.collect({ inUse: [] })).toEqual({ removed: [], freedBytes: 0 });
    await clock.advance(25 * 3600 * 1000);
    const result = await store.collect({ inUse: ['reg.test/team/web:v1', 'no reference!'] });
    expect(result.removed).toEqual([gone.digest]);
    expect(result.freedBytes).toBeGreaterThan(three.length);
    expect(existsSync(join(root, 'layers', unpackedFolder(three)))).toBe(false);
    expect(kept.layers.every((layer) => existsSync(layer))).toBe(true);
  });

  test('keeps what a running pull relies on while it is collected', async () => {
    registry.push('team/web:v1', [one, two]);
    await store.ensure(web, { signal });
    registry.push('team/api:v1', [one, three]);
    const release = registry.hold();
    const pull = store.ensure('reg.test/team/api:v1', { signal });
    await until(() => registry.calls.filter((call) => call.startsWith('blob')).length > 3);
    await clock.advance(25 * 3600 * 1000);
    const collecting = store.collect({ inUse: [] });
    release();
    await collecting;
    const { layers } = await pull;
    expect(layers.every((layer) => existsSync(join(layer, 'content')))).toBe(true);
  });
});

function unpackedFolder(layer: Buffer): string {
  for (const [digest, blob] of registry.blobs) if (blob.equals(layer)) return digest.slice('sha256:'.length);
  throw new Error('no such layer was pushed');
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve));
}
