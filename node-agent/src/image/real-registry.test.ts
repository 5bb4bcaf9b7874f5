import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { silentLogger, systemClock } from '@gantry/common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ImageStore } from './images.ts';
import { createRegistry } from './registry.ts';
import { openImageStore } from './store.ts';
import { createUnpacker } from './unpacker.ts';

const program = fileURLToPath(new URL('../../../native/build/gantry-unpack', import.meta.url));
const needed = [program, '/usr/bin/docker-registry', '/usr/bin/skopeo', '/usr/bin/umoci', '/bin/busybox'];
const missing = needed.filter((path) => !existsSync(path));
const skipReason = missing.length > 0 ? `missing: ${missing.join(', ')}` : process.getuid?.() !== 0 ? 'needs root' : '';

const base = mkdtempSync(join(tmpdir(), 'gantry-registry-'));
const layout = join(base, 'layout');
const { signal } = new AbortController();
let server: ChildProcess | undefined;
let host: string;
let store: ImageStore;

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: 'pipe', cwd: base });
}

/** An image of two layers by umoci: busybox, and a text. */
function build(): void {
  mkdirSync(join(base, 'root/bin'), { recursive: true });
  mkdirSync(join(base, 'root/etc'));
  run('cp', '/bin/busybox', 'root/bin/busybox');
  run('ln', '-s', 'busybox', 'root/bin/sh');
  writeFileSync(join(base, 'root/etc/motd'), 'hello\n', { mode: 0o640 });
  run('umoci', 'init', '--layout', layout);
  run('umoci', 'new', '--image', `${layout}:v1`);
  for (const folder of ['bin', 'etc']) run('umoci', 'insert', '--image', `${layout}:v1`, `root/${folder}`, `/${folder}`);
  const config = [
    '--config.entrypoint',
    '/bin/sh',
    '--config.env',
    'GREETING=hello',
    '--config.user',
    '1000',
    '--config.workingdir',
    '/etc',
  ];
  run('umoci', 'config', '--image', `${layout}:v1`, ...config);
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** The registry has no other sign of being ready than that it accepts. */
async function accepting(port: number): Promise<void> {
  const accepted = await new Promise<boolean>((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(socket.destroy() !== undefined));
    socket.once('error', () => resolve(false));
  });
  if (!accepted) await accepting(port);
}

async function serve(): Promise<void> {
  const port = await freePort();
  host = `127.0.0.1:${port}`;
  const storage = { filesystem: { rootdirectory: join(base, 'registry') } };
  writeFileSync(join(base, 'registry.yml'), JSON.stringify({ version: '0.1', log: { level: 'error' }, storage, http: { addr: host } }));
  server = spawn('/usr/bin/docker-registry', ['serve', join(base, 'registry.yml')], { stdio: 'ignore' });
  await accepting(port);
}

function push(tag: string, ...options: string[]): void {
  run('skopeo', 'copy', '--dest-tls-verify=false', ...options, `oci:${layout}:v1`, `docker://${host}/team/web:${tag}`);
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe.skipIf(skipReason !== '')(`a real registry${skipReason && ` (${skipReason})`}`, () => {
  beforeAll(async () => {
    build();
    await serve();
    const random = Math.random;
    const registry = createRegistry({ clock: systemClock, random, insecureRegistries: [host] });
    const common = { clock: systemClock, random, log: silentLogger(), unpacker: createUnpacker(program) };
    store = await openImageStore({ ...common, root: join(base, 'images'), registry });
  });

  afterAll(async () => {
    await store?.close();
    const ended = new Promise((resolve) => server?.once('exit', resolve));
    if (server?.kill('SIGTERM')) await ended;
    rmSync(base, { recursive: true, force: true });
  });

  const forms: [string, string[]][] = [
    ['oci', []],
    ['docker', ['--format', 'v2s2']],
    ['zstd', ['--dest-compress-format', 'zstd', '--dest-compress']],
  ];
  test.each(forms)('gives an image in %s form, whole and with its config', async (tag, options) => {
    push(tag, ...options);
    const image = await store.ensure(`${host}/team/web:${tag}`, { signal });
    expect(image.config).toMatchObject({ entrypoint: ['/bin/sh'], env: ['GREETING=hello'], user: '1000', workingDir: '/etc' });
    const [etc, bin] = image.layers as [string, string];
    expect(readFileSync(join(etc, 'etc/motd'), 'utf8')).toBe('hello\n');
    expect(statSync(join(etc, 'etc/motd')).mode & 0o777).toBe(0o640);
    expect(sha256(readFileSync(join(bin, 'bin/busybox')))).toBe(sha256(readFileSync('/bin/busybox')));
    expect(execFileSync(join(bin, 'bin/busybox'), ['echo', 'runs'], { encoding: 'utf8' })).toBe('runs\n');
    expect(store.present(`${host}/team/web@${image.digest}`)).toMatchObject({ digest: image.digest });
  });

  test('gives the image of this platform out of an index', async () => {
    push('one');
    const { digest } = await store.ensure(`${host}/team/web:one`, { signal });
    const size = statSync(join(base, 'images/blobs/sha256', digest.slice(7))).size;
    const entry = (architecture: string, of = digest) => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: of,
      size,
      platform: { os: 'linux', architecture },
    });
    const own = process.arch === 'x64' ? 'amd64' : process.arch;
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [entry('s390x'), entry(own)],
    });
    const put = await fetch(`http://${host}/v2/team/web/manifests/many`, {
      method: 'PUT',
      body: index,
      headers: { 'content-type': 'application/vnd.oci.image.index.v1+json' },
    });
    expect(put.status).toBe(201);
    const image = await store.ensure(`${host}/team/web:many`, { signal });
    expect(image.manifestDigest).toBe(digest);
    expect(image.digest).toBe(`sha256:${sha256(Buffer.from(index))}`);
  });

  test('is not asked again for what is here, and its absence is told by name', async () => {
    await store.ensure(`${host}/team/web:oci`, { signal });
    await expect(store.ensure(`${host}/team/none:v1`, { signal })).rejects.toThrow(/team\/none:v1".*does not have it/);
    server!.kill('SIGTERM');
    await new Promise((resolve) => server!.once('exit', resolve));
    server = undefined;
    expect((await store.ensure(`${host}/team/web:oci`, { signal })).layers).toHaveLength(2);
    expect((await store.ensure(`${host}/team/web:oci`, { signal, pin: 'new' })).layers).toHaveLength(2);
  });
});
