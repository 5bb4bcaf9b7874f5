import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code } from '@gantry/common';
import { Assignment, ContainerSpec, FileReference, Mount, MountType, ServiceKey, ServiceSpec } from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openVolumes } from './disk-volumes.ts';
import type { FileRequest } from './file-mounts.ts';
import type { Volumes } from './volumes.ts';

let base: string;
let root: string;
let binds: string;
let volumes: Volumes;
let fetched: FileRequest[];
const { signal } = new AbortController();
const content = Buffer.from('password');
const digest = createHash('sha256').update(content).digest('hex');

async function open(): Promise<Volumes> {
  return openVolumes({
    root,
    filesRoot: join(base, 'files'),
    bindRoots: [binds],
    fetchFile: async (request) => {
      fetched.push(request);
      return content;
    },
    removeTree: (folder) => rm(folder, { recursive: true, force: true }),
  });
}

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'gantry-volumes-'));
  [root, binds] = [join(base, 'volumes'), join(base, 'binds')];
  mkdirSync(join(binds, 'data'), { recursive: true });
  fetched = [];
  volumes = await open();
});

afterEach(() => rmSync(base, { recursive: true, force: true }));

function assignment(container: Partial<ContainerSpec>, fields: Partial<Assignment> = {}): Assignment {
  const key = ServiceKey.create({ namespace: 'default', app: 'shop', service: 'db' });
  const spec = ServiceSpec.create({ container: ContainerSpec.create(container) });
  return Assignment.create({ id: 'c1', key, spec, ...fields });
}

function mounted(...mounts: Partial<Mount>[]): Assignment {
  return assignment({ mounts: mounts.map((mount) => Mount.create({ type: MountType.bind, target: '/data', ...mount })) });
}

describe('volumes', () => {
  test('make a named volume once, for root only from outside, and keep its content', async () => {
    const wanted = mounted({ type: MountType.volume, source: 'db_data', target: '/var/lib/db' });
    const [first] = await volumes.prepare(wanted, signal);
    expect(first).toEqual({
      destination: '/var/lib/db',
      type: 'bind',
      source: join(root, 'default/shop/db_data'),
      options: ['rbind', 'rprivate', 'nosuid', 'nodev', 'rw'],
    });
    writeFileSync(join(first!.source, 'kept'), 'x');
    expect(await volumes.prepare(wanted, signal)).toEqual([first]);
    expect(readdirSync(first!.source)).toEqual(['kept']);
    expect([statSync(root).mode & 0o777, statSync(first!.source).mode & 0o777]).toEqual([0o700, 0o755]);
    expect(await volumes.list()).toEqual([{ namespace: 'default', app: 'shop', name: 'db_data' }]);
  });

  test('remove a volume with its content and the folders that it was alone in', async () => {
    await volumes.prepare(mounted({ type: MountType.volume, source: 'a' }), signal);
    await volumes.prepare(mounted({ type: MountType.volume, source: 'b' }), signal);
    await volumes.remove({ namespace: 'default', app: 'shop', name: 'a' });
    expect(await volumes.list()).toEqual([{ namespace: 'default', app: 'shop', name: 'b' }]);
    await volumes.remove({ namespace: 'default', app: 'shop', name: 'b' });
    await volumes.remove({ namespace: 'default', app: 'shop', name: 'b' });
    expect(readdirSync(root)).toEqual([]);
  });

  test('give an anonymous volume to its container alone and remove it on release', async () => {
    const wanted = mounted({ type: MountType.volume, source: '' });
    const [mount] = await volumes.prepare(wanted, signal);
    writeFileSync(join(mount!.source, 'x'), '');
    expect(await volumes.list()).toEqual([]);
    await volumes.release('c1');
    expect(existsSync(mount!.source)).toBe(false);
    await volumes.release('c1');
  });

  test('finish a removal that an earlier process began', async () => {
    mkdirSync(join(root, '.gone-1/deep'), { recursive: true });
    await open();
    expect(readdirSync(root)).toEqual([]);
  });

  test.each(['..', '.', 'a/b', '../../etc', '', 'a\0b', '.hidden', 'x'.repeat(200)])(
    'refuse the volume name %j on removal',
    async (name) => {
      await expect(volumes.remove({ namespace: 'default', app: 'shop', name })).rejects.toMatchObject({ code: Code.invalidArgument });
      await expect(volumes.remove({ namespace: '..', app: 'shop', name: 'a' })).rejects.toMatchObject({ code: Code.invalidArgument });
    },
  );

  test('refuse a volume whose folder was replaced by a symlink', async () => {
    await volumes.prepare(mounted({ type: MountType.volume, source: 'a' }), signal);
    rmSync(join(root, 'default/shop/a'), { recursive: true });
    symlinkSync('/etc', join(root, 'default/shop/a'));
    await expect(volumes.prepare(mounted({ type: MountType.volume, source: 'a' }), signal)).rejects.toMatchObject({
      code: Code.failedPrecondition,
    });
  });

  test.each(['..', 'a/b', 'x\n'])('refuse the container id %j', async (id) => {
    await expect(volumes.release(id)).rejects.toMatchObject({ code: Code.invalidArgument });
    await expect(volumes.prepare(assignment({}, { id }), signal)).rejects.toMatchObject({ code: Code.invalidArgument });
  });
});

describe('host paths', () => {
  test('are mounted from an allowed root, read-only without what is mounted beneath', async () => {
    const [mount] = await volumes.prepare(mounted({ source: `${join(binds, 'data')}/`, readOnly: true }), signal);
    expect(mount).toEqual({
      destination: '/data',
      type: 'bind',
      source: join(binds, 'data'),
      options: ['bind', 'rprivate', 'nosuid', 'nodev', 'ro'],
    });
  });

  const outside: [string, () => string, Code][] = [
    ['outside', () => '/etc', Code.permissionDenied],
    ['beside, with the same beginning', () => `${binds}-more`, Code.permissionDenied],
    ['outside through ..', () => `${join(binds, 'data')}/../../..`, Code.permissionDenied],
    ['relative', () => 'data', Code.invalidArgument],
    ['missing', () => join(binds, 'none'), Code.failedPrecondition],
    ['beneath a file', () => join(binds, 'file/x'), Code.failedPrecondition],
    ['a symlink out', () => join(binds, 'out'), Code.failedPrecondition],
    ['a symlink that stays inside', () => join(binds, 'in'), Code.failedPrecondition],
    ['beneath a symlink', () => join(binds, 'out/passwd'), Code.failedPrecondition],
    ['with NUL', () => join(binds, 'data\0'), Code.invalidArgument],
  ];
  test.each(outside)('are refused when they are %s', async (_what, path, code) => {
    writeFileSync(join(binds, 'file'), '');
    symlinkSync('/etc', join(binds, 'out'));
    symlinkSync('data', join(binds, 'in'));
    await expect(volumes.prepare(mounted({ source: path() }), signal)).rejects.toMatchObject({ code });
  });
});

describe('mounts', () => {
  test('describe a tmpfs with its defaults', async () => {
    const [mount] = await volumes.prepare(mounted({ type: MountType.tmpfs, target: '/run/x/' }), signal);
    expect(mount).toEqual({
      destination: '/run/x',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'nodev', 'noexec', 'mode=1777', 'size=67108864'],
    });
  });

  test('come outer ones first', async () => {
    const tmpfs = { type: MountType.tmpfs };
    const prepared = await volumes.prepare(
      mounted({ ...tmpfs, target: '/a/b/c' }, { ...tmpfs, target: '/a' }, { ...tmpfs, target: '/a/b' }),
      signal,
    );
    expect(prepared.map((mount) => mount.destination)).toEqual(['/a', '/a/b', '/a/b/c']);
  });

  test.each(['/', '/proc', '/proc/sys', '/sys/fs/cgroup', '/dev', 'relative', '', '/a/../proc', '/x\0'])(
    'refuse the target %j',
    async (target) => {
      await expect(volumes.prepare(mounted({ type: MountType.tmpfs, target }), signal)).rejects.toMatchObject({
        code: Code.invalidArgument,
      });
    },
  );

  test('refuse two at one place', async () => {
    const tmpfs = { type: MountType.tmpfs };
    await expect(volumes.prepare(mounted({ ...tmpfs, target: '/a' }, { ...tmpfs, target: '/a/' }), signal)).rejects.toThrow(/named twice/);
  });
});

describe('configs and secrets', () => {
  const secret = FileReference.create({ source: 'key', uid: '1000', gid: '1001', mode: 0o400 });
  const config = FileReference.create({ source: 'app.conf', target: '/etc/app.conf' });
  const digests = { 'secret/key': digest, 'config/app.conf': digest };

  test('are files with owner and mode, read-only, in a folder for root only, fetched once', async () => {
    const wanted = assignment({ configs: [config], secrets: [secret] }, { fileDigests: digests });
    const prepared = await volumes.prepare(wanted, signal);
    expect(prepared.map((mount) => mount.destination)).toEqual(['/etc/app.conf', '/run/secrets/key']);
    const path = prepared[1]!.source;
    const stat = statSync(path);
    expect([stat.uid, stat.gid, stat.mode & 0o777]).toEqual([1000, 1001, 0o400]);
    expect(statSync(prepared[0]!.source).mode & 0o777).toBe(0o444);
    expect(statSync(join(base, 'files/c1')).mode & 0o777).toBe(0o700);
    expect(readFileSync(path, 'utf8')).toBe('password');
    expect(prepared[1]!.options).toContain('ro');
    await volumes.prepare(wanted, signal);
    expect(fetched.map((request) => [request.secret, request.name, request.digest])).toEqual([
      [false, 'app.conf', digest],
      [true, 'key', digest],
    ]);
    await volumes.release('c1');
    expect(readdirSync(join(base, 'files'))).toEqual([]);
  });

  test('are refused when the content is not what the assignment says', async () => {
    const wanted = assignment({ secrets: [secret] }, { fileDigests: { 'secret/key': '0'.repeat(64) } });
    await expect(volumes.prepare(wanted, signal)).rejects.toMatchObject({ code: Code.dataLoss });
    expect(readdirSync(join(base, 'files/c1'))).toEqual([]);
  });

  test('are refused with an owner that is no number', async () => {
    const wanted = assignment({ secrets: [{ ...secret, uid: 'root' }] });
    await expect(volumes.prepare(wanted, signal)).rejects.toMatchObject({ code: Code.invalidArgument });
    expect(fetched).toEqual([]);
  });
});
