import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { systemClock } from '@gantry/common';
import { Assignment, ContainerSpec, Limits, ServiceSpec } from '@gantry/proto';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { BerthRuntime } from './berth.ts';
import { buildSpec } from './bundle.ts';
import { etcMounts, makeFolders, writeBundle } from './bundle-files.ts';
import { resolveUser } from './passwd.ts';
import { containerPaths } from './paths.ts';
import type { ContainerPaths, ExecRequest, ExecSession } from './runtime.ts';

const binary = resolve('native/build/berth');
const unavailable =
  process.getuid?.() !== 0 ? 'needs root' : !existsSync(binary) ? 'berth is not built' : !existsSync('/bin/busybox') ? 'needs busybox' : '';

const cgroupParent = `/gantry-berth-test-${process.pid}`;
let folder: string;
let layer: string;
let runtime: BerthRuntime;
let next = 0;
const started: ContainerPaths[] = [];

const request: ExecRequest = { args: [], environment: {}, user: '', workingDir: '', tty: false, stdin: false, rows: 0, columns: 0 };

function container(command: string[], spec: Partial<ContainerSpec> = {}, limits: Partial<Limits> = {}): ContainerPaths {
  const paths = containerPaths({ dataDir: folder, runDir: join(folder, 'run') }, `t${process.pid}-${next++}`);
  const { id } = paths;
  started.push(paths);
  const service = ServiceSpec.create({
    name: 'web',
    limits: Limits.create(limits),
    container: ContainerSpec.create({ image: 'busybox', command, ...spec }),
  });
  makeFolders(paths);
  const image = { entrypoint: [], cmd: [], env: [], workingDir: '', user: '', stopSignal: '', labels: {}, exposedPorts: [], volumes: [] };
  const built = buildSpec({
    assignment: Assignment.create({ id, spec: service }),
    paths,
    image: { ...image, architecture: 'amd64', os: 'linux' },
    layers: [layer],
    user: resolveUser(service.container!.user, [layer]),
    cgroupsPath: `${cgroupParent}/${id}`,
    netnsPath: '',
    mounts: [],
    etc: etcMounts(paths),
    disks: [],
  });
  writeBundle(paths, built, { hostname: id, address: '', dnsAddress: '', search: [] });
  return paths;
}

const shell = (script: string) => ['/bin/sh', '-c', script];
const quiet = { logMaxBytes: 0, logMaxFiles: 0 };

function logOf(paths: ContainerPaths): string[] {
  const text = readFileSync(join(paths.state, 'log'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' ').slice(3).join(' '));
}

async function outputOf(session: ExecSession): Promise<string> {
  let text = '';
  for await (const { data } of session.output) text += Buffer.from(data).toString('utf8');
  return text;
}

/** A killed process may wait for its new parent to reap it. */
function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

beforeAll(() => {
  if (unavailable) return;
  folder = mkdtempSync(join(tmpdir(), 'gantry-agent-berth-'));
  layer = join(folder, 'layer');
  for (const name of ['bin', 'etc', 'tmp', 'dev', 'proc', 'sys']) mkdirSync(join(layer, name), { recursive: true });
  copyFileSync('/bin/busybox', join(layer, 'bin/busybox'));
  for (const name of ['sh', 'sleep', 'cat', 'id', 'echo', 'stty', 'kill', 'hostname', 'ls', 'touch'])
    symlinkSync('busybox', join(layer, 'bin', name));
  writeFileSync(join(layer, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n');
  writeFileSync(join(layer, 'etc/group'), 'root:x:0:\nlogs:x:50:app\n');
  runtime = new BerthRuntime({ binary, root: join(folder, 'berth'), clock: systemClock });
});

afterEach(async () => {
  for (const paths of started.splice(0)) await runtime.delete(paths).catch(() => {});
});

afterAll(() => {
  if (unavailable) return;
  runtime.close();
  rmSync(folder, { recursive: true, force: true });
  const roots = ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids', 'unified', ''];
  for (const root of roots) execFileSync('sh', ['-c', `rmdir /sys/fs/cgroup/${root}${cgroupParent} 2>/dev/null || true`]);
});

const given = test.skipIf(unavailable !== '');

given('a container runs as its image says, ends, and tells its exit code', async () => {
  const paths = container(shell('id; hostname; echo bad >&2; exit 7'), { user: 'app', hostname: 'web-1' });
  const { run, exited } = await runtime.start(paths, quiet);
  expect(run.pid).toBeGreaterThan(1);
  expect(await exited).toMatchObject({ exitCode: 7, signal: 0, oomKilled: false, lost: false });
  expect(logOf(paths)).toEqual(expect.arrayContaining(['uid=1000(app) gid=1001 groups=50(logs)', 'web-1', 'bad']));
});

given('a stop signal reaches the main process, and a kill ends what ignores it', async () => {
  const polite = container(shell('trap "exit 0" TERM; while :; do sleep 0.05; done'));
  const stubborn = container(shell('trap "" TERM; while :; do sleep 0.05; done'));
  const runs = [await runtime.start(polite, quiet), await runtime.start(stubborn, quiet)];
  await runtime.signal(polite, 15);
  await runtime.signal(stubborn, 15);
  expect(await runs[0]!.exited).toMatchObject({ signal: expect.any(Number), lost: false });
  await runtime.kill(stubborn);
  expect(await runs[1]!.exited).toMatchObject({ exitCode: 137, signal: 9 });
  await runtime.signal(stubborn, 15);
});

given('a container goes on without its agent and is found again with the same pid', async () => {
  const paths = container(['/bin/sleep', '1000']);
  const first = new BerthRuntime({ binary, root: join(folder, 'berth'), clock: systemClock });
  const { run } = await first.start(paths, quiet);
  first.close();
  const found = await runtime.find(paths);
  if (found.kind !== 'running') throw new Error(`found ${found.kind}`);
  expect(found.running.run).toEqual(run);
  await runtime.kill(paths);
  expect(await found.running.exited).toMatchObject({ exitCode: 137 });
  expect(await runtime.find(paths)).toMatchObject({ kind: 'exited', exit: { exitCode: 137 } });
});

given('a container whose monitor was killed is ended and found as lost', async () => {
  const paths = container(['/bin/sleep', '1000']);
  const { run, exited } = await runtime.start(paths, quiet);
  const monitor = Number.parseInt(readFileSync(join(paths.state, 'monitor.pid'), 'utf8'), 10);
  process.kill(monitor, 'SIGKILL');
  expect(await exited).toMatchObject({ lost: true, exitCode: 255 });
  expect(isAlive(run.pid)).toBe(false);
});

given('a container whose monitor hangs is ended with it', async () => {
  const paths = container(['/bin/sleep', '1000']);
  const { run, exited } = await runtime.start(paths, quiet);
  const monitor = Number.parseInt(readFileSync(join(paths.state, 'monitor.pid'), 'utf8'), 10);
  process.kill(monitor, 'SIGSTOP');
  await runtime.abandon(paths);
  expect(await exited).toMatchObject({ lost: true });
  expect(isAlive(run.pid)).toBe(false);
});

given('a start that fails says why and leaves nothing', async () => {
  const paths = container(['/bin/no-such-program']);
  await expect(runtime.start(paths, quiet)).rejects.toThrow(/no-such-program/);
  expect(await runtime.find(paths)).toEqual({ kind: 'nothing' });
});

given('exec runs with input, output, exit code and the changed environment', async () => {
  const paths = container(['/bin/sleep', '1000']);
  await runtime.start(paths, quiet);
  const session = await runtime.exec(paths, {
    ...request,
    args: shell('id -u; echo $X; cat; exit 5'),
    environment: { X: 'y' },
    user: 'app',
    stdin: true,
  });
  await session.write(Buffer.from('from outside\n'));
  session.closeInput();
  expect(await outputOf(session)).toBe('1000\ny\nfrom outside\n');
  expect(await session.exitCode).toBe(5);
});

given('exec on a terminal has the asked size and follows a resize', async () => {
  const paths = container(['/bin/sleep', '1000']);
  await runtime.start(paths, quiet);
  const session = await runtime.exec(paths, { ...request, args: ['/bin/sh'], tty: true, stdin: true, rows: 40, columns: 120 });
  const output = outputOf(session);
  await session.write(Buffer.from('stty size\n'));
  session.resize(50, 100);
  await session.write(Buffer.from('stty size; exit 3\n'));
  expect(await session.exitCode).toBe(3);
  expect(await output).toContain('50 100');
});

given('exec of what is not there fails with its name', async () => {
  const paths = container(['/bin/sleep', '1000']);
  await runtime.start(paths, quiet);
  await expect(runtime.exec(paths, { ...request, args: ['/nothing'] })).rejects.toThrow(/nothing/);
});

given('limits hold from the start and change in place', async () => {
  const paths = container(['/bin/sleep', '1000'], {}, { memoryBytes: 64 * 2 ** 20, pids: 10 });
  const { run } = await runtime.start(paths, quiet);
  const groups = readFileSync(`/proc/${run.pid}/cgroup`, 'utf8');
  expect(groups).toContain(`${cgroupParent}/${paths.id}`);
  await runtime.update(paths, { memory: { limit: 32 * 2 ** 20 } });
  const files = [
    `/sys/fs/cgroup/memory${cgroupParent}/${paths.id}/memory.limit_in_bytes`,
    `/sys/fs/cgroup${cgroupParent}/${paths.id}/memory.max`,
  ];
  const file = files.find((one) => existsSync(one))!;
  expect(readFileSync(file, 'utf8').trim()).toBe(String(32 * 2 ** 20));
});

given('a second run on the same layer finds its files and goes on with its log', async () => {
  const paths = container(shell('ls /kept 2>&1; touch /kept'));
  await (await runtime.start(paths, quiet)).exited;
  await (await runtime.start(paths, quiet)).exited;
  expect(logOf(paths)).toEqual(['ls: /kept: No such file or directory', '/kept']);
});
