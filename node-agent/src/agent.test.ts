import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock } from '@gantry/common';
import {
  AssignmentDesired,
  Assignments,
  Command,
  ContainerHealth,
  ContainerState,
  connect,
  ExecCommand,
  ExecInput,
  ExecStart,
  Goodbye,
  InventoryCommand,
  LogCommand,
  Machine,
  PullCommand,
  Report,
} from '@gantry/proto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Agent, type AgentParts } from './agent.ts';
import { decodeSnapshot } from './desired.ts';
import { FakeImageStore, fakeImageConfig } from './image/fake-images.ts';
import { FakeNetwork } from './network/fake-network.ts';
import { anAssignment } from './reconcile/fake-node.ts';
import { FakeRuntime } from './runtime/fake.ts';
import { FakeControlPlane, type FakeSession } from './session/fake-control-plane.ts';

let dataDir: string;
let server: FakeControlPlane;
let runtime: FakeRuntime;
let images: FakeImageStore;
let network: FakeNetwork;
let agent: Agent | undefined;

async function startAgent(addresses = [server.address]): Promise<void> {
  network = new FakeNetwork();
  const parts: AgentParts = {
    clock: systemClock,
    log: silentLogger(),
    random: () => 0,
    facts: { name: 'n1', dataDir, runDir: join(dataDir, 'run'), cgroupParent: '/gantry', disks: [] },
    machine: () => Machine.create({ name: 'n1', cpus: 2 }),
    addresses,
    connect: (address) => connect({ address }),
    runtime,
    images,
    volumes: { prepare: async () => [], release: async () => {}, list: async () => [], remove: async () => {} },
    network,
    prober: {
      watch: () => ({ health: ContainerHealth.none, ready: true, reason: '' }),
      unwatch: () => {},
      condition: () => undefined,
      onChange: () => () => {},
      close: () => {},
    },
    sampler: {
      track: () => {},
      untrack: () => {},
      sampleAll: () => {},
      latest: () => undefined,
      report: () => Report.create({ at: 7 }),
      close: () => {},
    },
    onReady: () => {},
  };
  agent = await Agent.start(parts);
}

async function restartAgent(): Promise<void> {
  await agent?.close();
  runtime = new FakeRuntime(runtime.world);
  await startAgent();
}

function running(session: FakeSession, id: string) {
  return session.message(
    (message) => message.statuses?.statuses.some((one) => one.id === id && one.state === ContainerState.running) ?? false,
  );
}

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'gantry-agent-test-'));
  server = new FakeControlPlane();
  await server.start();
  runtime = new FakeRuntime();
  images = new FakeImageStore();
  images.offer('demo:1', { config: fakeImageConfig({ cmd: ['sleep'] }), layers: [] });
});

afterEach(async () => {
  await agent?.close();
  agent = undefined;
  server.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

test('a new agent says who it is, runs what it is given, and acknowledges it once it is on disk', async () => {
  server.snapshot = Assignments.create({ revision: 9, snapshot: true, upserts: [anAssignment('a')] });
  await startAgent();
  const session = await server.session(1);
  await running(session, 'a');
  expect(session.messages[0]?.hello).toMatchObject({ node: 'n1', epoch: 1, assignmentsRevision: 0, containers: [] });
  await session.message((message) => message.assignmentsAck?.revision === 9);
  expect(decodeSnapshot(readFileSync(join(dataDir, 'assignments')))).toMatchObject({ revision: 9, upserts: [{ id: 'a' }] });
  await session.message((message) => message.report?.at === 7);
  expect(runtime.running).toEqual(['a']);
});

test('changes add and remove containers, and what is gone is told', async () => {
  await startAgent();
  const session = await server.session(1);
  session.send({ assignments: Assignments.create({ revision: 2, upserts: [anAssignment('a'), anAssignment('b')] }) });
  await running(session, 'b');
  session.send({ assignments: Assignments.create({ revision: 3, upserts: [anAssignment('a', { desired: AssignmentDesired.stop })] }) });
  session.send({ assignments: Assignments.create({ revision: 4, removals: ['b'] }) });
  const gone = new Set<string>();
  for (const id of ['a', 'b']) {
    const message = await session.message(({ statuses }) => statuses?.removed.includes(id) ?? false);
    for (const one of message.statuses?.removed ?? []) gone.add(one);
    const told = session.messages.flatMap(({ statuses }) => statuses?.statuses ?? []).filter((one) => one.id === id);
    expect(told.at(-1)).toMatchObject({ state: ContainerState.complete, final: true });
  }
  expect([...gone].sort()).toEqual(['a', 'b']);
  expect(runtime.running).toEqual([]);
});

test('statuses that were not acknowledged come again on the next session, with their epoch and sequence', async () => {
  await startAgent();
  const first = await server.session(1);
  first.polite = false;
  server.snapshot = Assignments.create({ revision: 2, snapshot: true, upserts: [anAssignment('a')] });
  first.send({ assignments: server.snapshot });
  const told = (await running(first, 'a')).statuses?.statuses.find((one) => one.id === 'a');
  first.end();
  const second = await server.session(2);
  const again = (await running(second, 'a')).statuses?.statuses.find((one) => one.id === 'a');
  expect(again).toEqual(told);
  expect(again).toMatchObject({ epoch: 1 });
  expect(second.messages[0]?.hello?.containers).toMatchObject([{ id: 'a', state: ContainerState.running, epoch: 1 }]);
});

test('a control plane that falls silent is left for the next one', async () => {
  const other = new FakeControlPlane();
  await other.start();
  server.welcome.heartbeatUs = 50_000;
  await startAgent([server.address, other.address]);
  const session = await server.session(1);
  session.polite = false;
  await other.session(1);
  other.stop();
  expect(server.sessions).toBe(1);
});

test('without a control plane an agent runs on from its disk, with a greater epoch', async () => {
  server.snapshot = Assignments.create({ revision: 2, snapshot: true, upserts: [anAssignment('a')] });
  await startAgent();
  const session = await server.session(1);
  await running(session, 'a');
  await session.message((message) => message.assignmentsAck?.revision === 2);
  server.stop();
  runtime.world.clear();
  runtime.log.length = 0;
  const started = new Promise<void>((resolve) => {
    const next = new FakeRuntime(runtime.world);
    next.onStart = async () => {
      resolve();
      return undefined;
    };
    runtime = next;
  });
  await agent?.close();
  await startAgent();
  await started;
  expect(readFileSync(join(dataDir, 'epoch'), 'utf8')).toBe('2\n');
});

test.each([
  ['cut short', (bytes: Buffer) => bytes.subarray(0, bytes.length - 3)],
  ['zeroed', (bytes: Buffer) => Buffer.alloc(bytes.length)],
  ['garbled', (bytes: Buffer) => Buffer.from(bytes.toString('latin1').replace('demo:1', 'demo:2'), 'latin1')],
  ['empty', () => Buffer.alloc(0)],
])('with assignments on disk that are %s an agent keeps what runs and takes the next snapshot', async (_name, damage) => {
  server.snapshot = Assignments.create({ revision: 2, snapshot: true, upserts: [anAssignment('a'), anAssignment('b')] });
  await startAgent();
  const session = await server.session(1);
  await running(session, 'a');
  await running(session, 'b');
  await session.message((message) => message.assignmentsAck?.revision === 2);
  await agent?.close();
  const path = join(dataDir, 'assignments');
  writeFileSync(path, damage(readFileSync(path)));
  server.snapshot = Assignments.create({ revision: 3, snapshot: true, upserts: [anAssignment('a')] });
  await restartAgent();
  const second = await server.session(2);
  const { hello } = await second.message((message) => message.hello !== undefined && message.hello !== null);
  expect(hello?.assignmentsRevision).toBe(0);
  await second.message(({ statuses }) => statuses?.removed.includes('b') ?? false);
  expect(runtime.running).toEqual(['a']);
  expect(runtime.log.filter((line) => line.startsWith('start'))).toEqual([]);
});

test('a node that was removed from the cluster stops its containers', async () => {
  server.snapshot = Assignments.create({ revision: 2, snapshot: true, upserts: [anAssignment('a')] });
  await startAgent();
  const session = await server.session(1);
  await running(session, 'a');
  session.send({ goodbye: Goodbye.create({ reason: 'removed by an operator', removed: true }) });
  await session.message(({ statuses }) => statuses?.removed.includes('a') ?? false);
  expect(runtime.running).toEqual([]);
});

test('a damaged epoch gives way to a larger one', async () => {
  writeFileSync(join(dataDir, 'epoch'), 'not a number');
  await startAgent();
  const session = await server.session(1);
  const { hello } = await session.message((message) => message.hello !== undefined && message.hello !== null);
  expect(hello?.epoch).toBeGreaterThan(1_600_000_000);
});

test('a log command is answered on a stream of its own', async () => {
  server.snapshot = Assignments.create({ revision: 2, snapshot: true, upserts: [anAssignment('a')] });
  await startAgent();
  const session = await server.session(1);
  await running(session, 'a');
  const state = join(dataDir, 'containers/a/state');
  mkdirSync(state, { recursive: true });
  writeFileSync(join(state, 'log'), '2026-11-23T23:08:01.000001999Z stdout F one\n2026-11-23T23:08:02.5Z stderr F two\n');
  session.send({ command: Command.create({ stream: 's1', logs: LogCommand.create({ containerId: 'a' }) }) });
  const lines: string[] = [];
  for await (const message of server.logMessages) {
    expect(message.stream).toBe('s1');
    for (const entry of message.entries) lines.push(`${entry.at} ${entry.stream} ${Buffer.from(entry.line).toString()}`);
  }
  expect(lines).toEqual([
    `${Date.parse('2026-11-23T23:08:01Z') * 1000 + 1} 0 one`,
    `${Date.parse('2026-11-23T23:08:02Z') * 1000 + 500_000} 1 two`,
  ]);
});

test('an exec command carries input and output until the exit code', async () => {
  server.snapshot = Assignments.create({ revision: 2, snapshot: true, upserts: [anAssignment('a')] });
  await startAgent();
  const session = await server.session(1);
  await running(session, 'a');
  const start = ExecStart.create({ command: ['cat'], stdin: true });
  session.send({ command: Command.create({ stream: 's2', exec: ExecCommand.create({ containerId: 'a', start }) }) });
  server.execInputs.push(ExecInput.create({ stdin: Buffer.from('hello') }));
  const seen: string[] = [];
  for await (const { stream, output } of server.execMessages) {
    expect(stream).toBe('s2');
    if (output?.started) seen.push('started');
    if (output?.stdout) {
      seen.push(Buffer.from(output.stdout).toString());
      server.execInputs.push(ExecInput.create({ stdinClosed: true }));
    }
    if (output?.exit) seen.push(`exit ${output.exit.exitCode}`);
  }
  expect(seen).toEqual(['started', 'hello', 'exit 0']);
});

test('an exec in a container that is not here says so', async () => {
  await startAgent();
  const session = await server.session(1);
  await session.message((message) => message.heartbeat !== undefined && message.heartbeat !== null);
  const start = ExecStart.create({ command: ['true'] });
  session.send({ command: Command.create({ stream: 's3', exec: ExecCommand.create({ containerId: 'x', start }) }) });
  for await (const { output } of server.execMessages)
    expect(output?.exit).toMatchObject({
      exitCode: 126,
      error: 'cannot exec in container "x": it must be running, found no such container on this node',
    });
});

test('inventory and pull commands are answered', async () => {
  await startAgent();
  const session = await server.session(1);
  await session.message((message) => message.heartbeat !== undefined && message.heartbeat !== null);
  session.send({ command: Command.create({ stream: 's4', pull: PullCommand.create({ reference: 'demo:1' }) }) });
  const progress = [];
  for await (const message of server.pullMessages) progress.push(message.progress);
  expect(progress.at(-1)).toMatchObject({ node: 'n1', finished: true, error: '', doneBytes: 1000 });
  session.send({ command: Command.create({ inventory: InventoryCommand.create({ request: 5 }) }) });
  const { inventory } = await session.message((message) => message.inventory?.request === 5);
  expect(inventory?.images).toMatchObject([{ node: 'n1', reference: 'docker.io/library/demo:1' }]);
});
