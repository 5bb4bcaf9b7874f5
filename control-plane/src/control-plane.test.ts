import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, type GantryError, newId, readOptions, silentLogger, systemClock } from '@gantry/common';
import {
  AgentsService,
  ApplyRequest,
  AppSpec,
  AppsService,
  AssignmentDesired,
  type ClientOf,
  ClusterService,
  type Connection,
  ContainerSpec,
  ContainerState,
  ContainersService,
  connect,
  createClient,
  DrainNodeRequest,
  EnrollRequest,
  GetNodeRequest,
  ListContainersRequest,
  Machine,
  NodesService,
  Operation,
  OperationState,
  OperationsService,
  Port,
  RemoveNodeRequest,
  Report,
  Resources,
  ServiceSpec,
  StatusRequest,
  type TlsFiles,
  Usage,
  WatchOperationRequest,
} from '@gantry/proto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { optionTable, variablePrefix } from './config.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { FakeAgent } from './gateway/testing/fake-agent.ts';
import type { Context } from './security/context-file.ts';
import { loadX509 } from './security/x509.ts';
import { startTestEtcd, type TestEtcd } from './store/testing/etcd.ts';
import { startTestRedis, type TestRedis } from './usage/testing/redis.ts';

let etcd: TestEtcd;
let redis: TestRedis;
let folder = '';
let planes: ControlPlane[] = [];
let connections: Connection[] = [];
const enrolled = new Map<string, TlsFiles>();

beforeEach(async () => {
  [etcd, redis, folder] = await Promise.all([startTestEtcd(), startTestRedis(), mkdtemp(join(tmpdir(), 'gantry-plane-'))]);
});
afterEach(async () => {
  for (const connection of connections) connection.close();
  await Promise.all(planes.map((plane) => plane.stop()));
  [planes, connections] = [[], []];
  enrolled.clear();
  await Promise.all([etcd.stop(), redis.stop(), rm(folder, { recursive: true, force: true })]);
});

const contextFile = () => join(folder, 'context.json');
const tokenFile = () => join(folder, 'token');

function configOf(id: string) {
  const args = [
    ...['--listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0', '--etcd', etcd.address, '--redis', redis.address, '--id', id],
    ...['--data-dir', join(folder, 'data'), '--context-file', contextFile(), '--bootstrap-token-file', tokenFile()],
  ];
  return readOptions({ table: optionTable, prefix: variablePrefix, args, env: {} });
}

async function start(id = 'cp0'): Promise<ControlPlane> {
  const surroundings = { log: silentLogger(), clock: systemClock, random: Math.random, signal: new AbortController().signal };
  const plane = await startControlPlane(configOf(id), surroundings);
  planes.push(plane);
  return plane;
}

async function started(id = 'cp0'): Promise<ControlPlane> {
  const plane = await start(id);
  await plane.ready;
  return plane;
}

function dial(address: string, tls: TlsFiles): Connection {
  const connection = connect({ address, tls });
  connections.push(connection);
  return connection;
}

/** The local operator's connection. */
async function operator(address: string): Promise<Connection> {
  const context = JSON.parse(await readFile(contextFile(), 'utf8')) as Context;
  return dial(address, context);
}

/** Enrolls a node with the bootstrap token, as an agent does. */
async function enroll(address: string, node: string): Promise<TlsFiles> {
  const x509 = await loadX509();
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ name: 'CN=x', keys, signingAlgorithm: algorithm });
  const [, , tokenId, secret] = (await readFile(tokenFile(), 'utf8')).trim().split('.');
  const { ca } = JSON.parse(await readFile(contextFile(), 'utf8')) as Context;
  const client = createClient(AgentsService, dial(address, { ca }));
  const answer = await client.enroll(
    EnrollRequest.create({ tokenId: tokenId!, secret: secret!, node, csr: new Uint8Array(request.rawData) }),
  );
  const key = x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
  const tls = { ca: answer.ca, certificate: answer.certificate, key };
  enrolled.set(node, tls);
  return tls;
}

/** An agent that starts what it is told to start, at once, and stops what it is told to stop. */
async function obedient(plane: ControlPlane, node: string, epoch = 1): Promise<FakeAgent> {
  const tls = enrolled.get(node) ?? (await enroll(plane.address, node));
  const agent = new FakeAgent(dial(plane.address, tls), { node, epoch });
  const capacity = Resources.create({ cpuMillis: 4000, memoryBytes: 4 * 2 ** 30 });
  agent.hello({ machine: Machine.create({ address: `192.0.2.${node.slice(1)}`, capacity, cpus: 4, arch: 'x64', os: 'linux' }) });
  await agent.next((message) => message.welcome);
  void obey(agent);
  return agent;
}

async function obey(agent: FakeAgent): Promise<void> {
  const beating = setInterval(() => agent.heartbeat(), 500);
  void agent.ended.then(() => clearInterval(beating));
  const seen = new Set<object>();
  for (;;) {
    const assignments = await agent.next(({ assignments }) => (assignments && !seen.has(assignments) ? assignments : undefined));
    seen.add(assignments);
    for (const { id, desired } of assignments.upserts) {
      if (desired === AssignmentDesired.run) agent.running(id, `10.64.0.${(seen.size % 250) + 2}`);
      else agent.report({ id, state: ContainerState.complete, final: true });
    }
  }
}

const app = (replicas: number, name = 'shop') =>
  AppSpec.create({
    namespace: 'default',
    name,
    services: [
      ServiceSpec.create({
        name: 'web',
        replicas,
        container: ContainerSpec.create({ image: 'busybox:1' }),
        reservation: Resources.create({ cpuMillis: 100, memoryBytes: 2 ** 26 }),
        ports: [Port.create({ target: 80 })],
      }),
    ],
  });

const apply = (connection: Connection, replicas: number, name?: string) =>
  createClient(AppsService, connection).apply(ApplyRequest.create({ requestId: newId(), app: app(replicas, name) }));

type Containers = ClientOf<typeof ContainersService>;

/** Waits until the API shows so many running containers. */
async function running(client: Containers, count: number, on: (node: string) => boolean = () => true) {
  for (;;) {
    const { containers } = await client.list(ListContainersRequest.create({ namespace: 'default' }));
    const found = containers.filter((container) => container.state === ContainerState.running && on(container.node));
    if (found.length === count) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('an app is applied over mutual TLS and runs on nodes that have enrolled; a removed node is refused at once', async () => {
  const plane = await started();
  const agents = await Promise.all(['n1', 'n2'].map((node) => obedient(plane, node)));
  const user = await operator(plane.address);
  await apply(user, 6);
  const containers = createClient(ContainersService, user);
  await running(containers, 6);
  const metrics = await (await fetch(`http://127.0.0.1:${plane.httpPort}/metrics`)).text();
  expect(metrics).toContain('gantry_containers{state="running"} 6');
  expect(metrics).toContain('gantry_nodes{state="ready"} 2');
  await createClient(NodesService, user).remove(RemoveNodeRequest.create({ requestId: newId(), name: 'n2', force: true }));
  expect((await agents[1]!.next((message) => message.goodbye)).removed).toBe(true);
  const again = new FakeAgent(dial(plane.address, enrolled.get('n2')!), { node: 'n2', epoch: 2 });
  again.hello();
  expect(await again.ended).toMatchObject({ code: Code.unauthenticated });
  await running(containers, 6, (node) => node === 'n1');
});

test('without a certificate and as a node nothing of the users can be called', async () => {
  const plane = await started();
  const tls = await enroll(plane.address, 'n1');
  const asNode = createClient(AppsService, dial(plane.address, tls));
  await expect(asNode.apply(ApplyRequest.create({ requestId: newId(), app: app(1) }))).rejects.toMatchObject({
    code: Code.permissionDenied,
  });
  const anonymous = createClient(ClusterService, dial(plane.address, { ca: tls.ca }));
  await expect(anonymous.status(StatusRequest.create())).rejects.toMatchObject({ code: Code.unauthenticated });
});

test('a node is drained: others take its containers, the operation shows it, and it works again after Redis was lost', async () => {
  const plane = await started();
  await Promise.all(['n1', 'n2'].map((node) => obedient(plane, node)));
  const user = await operator(plane.address);
  await apply(user, 8);
  const containers = createClient(ContainersService, user);
  await running(containers, 8);
  const drain = async (name: string) => {
    const operation = await createClient(NodesService, user).drain(DrainNodeRequest.create({ requestId: newId(), name }));
    let last = Operation.create();
    for await (const seen of createClient(OperationsService, user).watch(WatchOperationRequest.create({ id: operation.id }))) last = seen;
    return last;
  };
  expect(await drain('n1')).toMatchObject({ state: OperationState.succeeded });
  await running(containers, 8, (node) => node === 'n2');
  await redis.kill();
  await apply(user, 3);
  await running(containers, 3);
  await redis.start();
  await obedient(plane, 'n3');
  expect(await drain('n2')).toMatchObject({ state: OperationState.succeeded });
  await running(containers, 3, (node) => node === 'n3');
}, 60_000);

test('while etcd is away calls are refused as unavailable and sessions stay; then all goes on by itself', async () => {
  const plane = await started();
  const agent = await obedient(plane, 'n1');
  const user = await operator(plane.address);
  await apply(user, 2);
  const containers = createClient(ContainersService, user);
  await running(containers, 2);
  await etcd.kill();
  const refusal = (await apply(user, 4).catch((error: unknown) => error)) as GantryError;
  expect(refusal).toMatchObject({ code: Code.unavailable });
  expect(refusal.message).toMatch(/store|etcd/);
  const health = await fetch(`http://127.0.0.1:${plane.httpPort}/healthz`);
  expect(health.status).toBe(503);
  await agent.beat();
  await etcd.start();
  for (;;) {
    const outcome = await apply(user, 4).then(
      () => undefined,
      (error: GantryError) => error,
    );
    if (!outcome) break;
    expect(outcome.code).toBe(Code.unavailable);
  }
  await running(containers, 4);
  expect(agent.received.some((message) => message.goodbye)).toBe(false);
}, 60_000);

test('a control plane that starts while etcd is away says so, and serves when it is back', async () => {
  const first = await started();
  await first.stop();
  planes = [];
  await etcd.kill();
  const plane = await start();
  const user = await operator(plane.address);
  await expect(createClient(ClusterService, user).status(StatusRequest.create())).rejects.toMatchObject({
    code: Code.unavailable,
    message: expect.stringContaining('etcd'),
  });
  await etcd.start();
  await plane.ready;
  expect(await createClient(ClusterService, user).status(StatusRequest.create())).toMatchObject({ nodes: 0 });
}, 60_000);

test('what a node reports to one control plane the other knows too', async () => {
  const first = await started('cp0');
  const second = await started('cp1');
  const agent = await obedient(first, 'n1');
  const user = await operator(second.address);
  const nodes = createClient(NodesService, user);
  for (;;) {
    agent.send({ report: Report.create({ node: Usage.create({ cpuMillis: 1234 }) }) });
    const { usage } = await nodes.get(GetNodeRequest.create({ name: 'n1' }));
    if (usage?.cpuMillis === 1234) break;
  }
}, 60_000);

test('of two control planes one leads; when it ends the other does, and nodes that come to it keep their containers', async () => {
  const first = await started('cp0');
  const second = await started('cp1');
  await obedient(first, 'n1');
  const user = await operator(second.address);
  await apply(user, 3);
  const containers = createClient(ContainersService, user);
  const before = await running(containers, 3);
  const status = createClient(ClusterService, user);
  const { leader } = await status.status(StatusRequest.create());
  expect(leader).toBe('cp0');
  await first.stop();
  planes = planes.filter((plane) => plane !== first);
  await obedient(second, 'n1', 2);
  for (;;) {
    const now = await status.status(StatusRequest.create());
    if (now.leader === 'cp1') break;
  }
  await apply(user, 5);
  const after = await running(containers, 5);
  expect(after.map((container) => container.id)).toEqual(expect.arrayContaining(before.map((container) => container.id)));
}, 60_000);
