import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as later } from 'node:timers/promises';
import {
  Assignments,
  Command,
  type ContainerSpec,
  ContainerState,
  type ContainerStatus,
  ExecCommand,
  ExecStart,
  LogCommand,
  Probe,
  ProbeType,
  RestartPolicy,
} from '@gantry/proto';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { anAssignment } from './reconcile/fake-node.ts';
import { FakeControlPlane, type FakeSession } from './session/fake-control-plane.ts';

const unavailable =
  process.getuid?.() !== 0
    ? 'needs root'
    : !existsSync('native/build/berth')
      ? 'berth is not built'
      : !existsSync('/bin/busybox')
        ? 'needs busybox'
        : '';
const given = test.skipIf(unavailable !== '');
const cgroupParent = `/gantry-agent-test-${process.pid}`;

let folder: string;
let layer: string;
let server: FakeControlPlane;
let agent: ChildProcess | undefined;
let sessions = 0;

async function startAgent(): Promise<FakeSession> {
  const args = [resolve('node-agent/src/agent-fixture.ts'), join(folder, 'data'), server.address, layer, cgroupParent];
  agent = spawn(process.execPath, args, { stdio: 'ignore' });
  return await server.session(++sessions);
}

async function killAgent(): Promise<void> {
  const ended = new Promise((resolved) => agent?.once('exit', resolved));
  agent?.kill('SIGKILL');
  await ended;
  agent = undefined;
}

function shell(id: string, script: string, container: Partial<ContainerSpec> = {}) {
  // one restart after 10 ms keeps tests short
  const restart = RestartPolicy.create({ delayUs: 10_000 });
  return anAssignment(id, {}, { restart }, { command: ['/bin/sh', '-c', script], stopGraceUs: 300_000, ...container });
}

async function told(session: FakeSession, id: string, check: (status: ContainerStatus) => boolean): Promise<ContainerStatus> {
  const find = (statuses: readonly ContainerStatus[]) => statuses.find((one) => one.id === id && check(one));
  const message = await session.message((one) => find([...(one.statuses?.statuses ?? []), ...(one.hello?.containers ?? [])]) !== undefined);
  return find([...(message.statuses?.statuses ?? []), ...(message.hello?.containers ?? [])])!;
}

const runs = ({ state }: ContainerStatus) => state === ContainerState.running;

/** A killed process may wait for its new parent to reap it. */
function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

beforeAll(() => {
  if (unavailable) return;
  layer = mkdtempSync(join(tmpdir(), 'gantry-agent-layer-'));
  for (const name of ['bin', 'etc', 'tmp', 'dev', 'proc', 'sys']) mkdirSync(join(layer, name), { recursive: true });
  copyFileSync('/bin/busybox', join(layer, 'bin/busybox'));
  for (const name of ['sh', 'sleep', 'cat', 'echo', 'test', 'touch', 'rm']) symlinkSync('busybox', join(layer, 'bin', name));
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gantry-agent-process-'));
  server = new FakeControlPlane();
  sessions = 0;
  await server.start();
});

afterEach(async () => {
  if (unavailable) return;
  // a snapshot of nothing ends what a test left
  server.snapshot = Assignments.create({ revision: 1000, snapshot: true });
  if (agent) await killAgent();
  const session = await startAgent();
  const left = (await session.message((one) => one.hello !== undefined && one.hello !== null)).hello?.containers ?? [];
  for (const { id } of left) await session.message(({ statuses }) => statuses?.removed.includes(id) ?? false);
  await killAgent();
  server.stop();
  rmSync(folder, { recursive: true, force: true });
});

afterAll(() => {
  if (unavailable) return;
  rmSync(layer, { recursive: true, force: true });
  execFileSync('sh', ['-c', `rmdir /sys/fs/cgroup${cgroupParent} /sys/fs/cgroup/*${cgroupParent} 2>/dev/null || true`]);
});

given('containers live through the death of the agent, and the next one finds all of them and stops none', async () => {
  const assignments = ['a1', 'a2', 'a3'].map((id) => shell(id, 'while :; do sleep 1; done'));
  server.snapshot = Assignments.create({ revision: 2, snapshot: true, upserts: assignments });
  const first = await startAgent();
  const pids = await Promise.all(assignments.map(async ({ id }) => (await told(first, id, runs)).pid));
  await first.message((one) => one.assignmentsAck?.revision === 2);
  await killAgent();
  expect(pids.every(isAlive)).toBe(true);
  const second = await startAgent();
  const { hello } = await second.message((one) => one.hello !== undefined && one.hello !== null);
  expect(new Map(hello?.containers.map(({ pid, restarts }) => [pid, restarts]))).toEqual(new Map(pids.map((pid) => [pid, 0])));
  await second.message((one) => one.assignmentsAck?.revision === 2);
  expect(pids.every(isAlive)).toBe(true);
});

given('what ended while no agent was there is told with its exit code, and restarted by policy', async () => {
  server.snapshot = Assignments.create({
    revision: 2,
    snapshot: true,
    upserts: [shell('b1', 'trap "exit 9" USR1; echo ready; while :; do sleep 0.02; done')],
  });
  const first = await startAgent();
  const { pid } = await told(first, 'b1', runs);
  // a process 1 without its trap would ignore the signal
  const log = join(folder, 'data/containers/b1/state/log');
  while (!existsSync(log) || !readFileSync(log, 'utf8').includes('ready')) await later(5);
  await first.message((one) => one.assignmentsAck?.revision === 2);
  await killAgent();
  process.kill(pid, 'SIGUSR1');
  const exit = join(folder, 'data/containers/b1/state/exit');
  while (!existsSync(exit)) await later(5);
  const second = await startAgent();
  expect(await told(second, 'b1', ({ state }) => state === ContainerState.failed)).toMatchObject({ exitCode: 9, reason: 'exit code 9' });
  const again = await told(second, 'b1', runs);
  expect(again).toMatchObject({ restarts: 1, lastExitCode: 9, lastReason: 'exit code 9' });
  expect(again.pid).not.toBe(pid);
});

given('a main process that is killed is started again with the reason', async () => {
  server.snapshot = Assignments.create({ revision: 2, snapshot: true, upserts: [shell('c1', 'while :; do sleep 1; done')] });
  const session = await startAgent();
  const { pid } = await told(session, 'c1', runs);
  process.kill(pid, 'SIGKILL');
  const again = await told(session, 'c1', (status) => runs(status) && status.restarts === 1);
  expect(again).toMatchObject({ lastReason: 'killed by signal 9 (exit code 137)', lastExitCode: 137 });
});

given('a command that the image does not have fails with its name and is tried again', async () => {
  const assignment = anAssignment(
    'd1',
    {},
    { restart: RestartPolicy.create({ delayUs: 10_000, maxAttempts: 2 }) },
    { command: ['/bin/nothing'] },
  );
  server.snapshot = Assignments.create({ revision: 2, snapshot: true, upserts: [assignment] });
  const session = await startAgent();
  const end = await told(session, 'd1', ({ final }) => final);
  expect(end).toMatchObject({ state: ContainerState.failed, restarts: 0 });
  expect(end.reason).toMatch(/\/bin\/nothing.*given up after 2 restarts/);
});

given('a container that ignores its stop signal is killed when its grace is over', async () => {
  server.snapshot = Assignments.create({
    revision: 2,
    snapshot: true,
    upserts: [shell('e1', 'trap "" TERM; while :; do sleep 0.1; done')],
  });
  const session = await startAgent();
  const { pid } = await told(session, 'e1', runs);
  session.send({ assignments: Assignments.create({ revision: 3, removals: ['e1'] }) });
  await session.message(({ statuses }) => statuses?.removed.includes('e1') ?? false);
  expect(isAlive(pid)).toBe(false);
  expect(existsSync(join(folder, 'data/containers/e1'))).toBe(false);
});

given('logs, also of a container that is gone, and exec go over the session', async () => {
  server.snapshot = Assignments.create({
    revision: 2,
    snapshot: true,
    upserts: [shell('f1', 'echo from inside; while :; do sleep 1; done')],
  });
  const session = await startAgent();
  await told(session, 'f1', runs);
  const start = ExecStart.create({ command: ['/bin/sh', '-c', 'echo done; exit 4'] });
  session.send({ command: Command.create({ stream: 's1', exec: ExecCommand.create({ containerId: 'f1', start }) }) });
  const outputs: string[] = [];
  for await (const { output } of server.execMessages) {
    if (output?.stdout) outputs.push(Buffer.from(output.stdout).toString());
    if (output?.exit) outputs.push(`exit ${output.exit.exitCode}`);
  }
  expect(outputs).toEqual(['done\n', 'exit 4']);
  session.send({ assignments: Assignments.create({ revision: 3, removals: ['f1'] }) });
  await session.message(({ statuses }) => statuses?.removed.includes('f1') ?? false);
  session.send({ command: Command.create({ stream: 's2', logs: LogCommand.create({ containerId: 'f1', follow: true }) }) });
  const lines: string[] = [];
  for await (const { entries } of server.logMessages) for (const { line } of entries) lines.push(Buffer.from(line).toString());
  expect(lines).toEqual(['from inside']);
});

given('a container whose health command fails is restarted', async () => {
  const health = Probe.create({
    type: ProbeType.exec,
    command: ['test', '-e', '/ok'],
    intervalUs: 50_000,
    timeoutUs: 5_000_000,
    retries: 2,
  });
  server.snapshot = Assignments.create({
    revision: 2,
    snapshot: true,
    upserts: [shell('h1', 'trap "rm /ok" USR1; touch /ok; while :; do sleep 0.1; done', { health })],
  });
  const session = await startAgent();
  const { pid } = await told(session, 'h1', (status) => runs(status) && status.ready);
  process.kill(pid, 'SIGUSR1');
  const again = await told(session, 'h1', (status) => runs(status) && status.ready && status.restarts === 1);
  expect(again.lastReason).toContain('exit code 1');
});
