import { Code, type GantryError } from '@gantry/common';
import {
  AgentMessage,
  AssignmentDesired,
  ContainerState,
  ContainerStatus,
  ExecStart,
  GetFileRequest,
  LogCommand,
  NodeSettings,
  Report,
  StoredFile,
  Usage,
} from '@gantry/proto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { keys } from '../store/keys.ts';
import { type Harness, startHarness, web } from './testing/harness.ts';

let cluster: Harness;
beforeEach(async () => {
  cluster = await startHarness();
});
afterEach(() => cluster.close());

test('a node that says hello is registered, gets the lowest free subnet and is told everything', async () => {
  await cluster.assign({ id: 'c1', node: 'n1' });
  const first = cluster.agent('n1');
  first.hello();
  const welcome = await first.next((message) => message.welcome);
  expect(welcome).toMatchObject({ session: 1, subnet: '10.64.0.0/24', heartbeatUs: 1_000_000, clusterDomain: 'gantry.internal' });
  const snapshot = await first.next((message) => message.assignments);
  expect(snapshot).toMatchObject({ snapshot: true, removals: [] });
  expect(snapshot.upserts.map((assignment) => assignment.id)).toEqual(['c1']);
  expect(await first.next((message) => message.endpoints)).toMatchObject({ snapshot: true, services: [{ key: web, endpoints: [] }] });
  await cluster.connected('n2');
  const network = await first.next((message) => message.network?.peers.length === 2 && message.network);
  expect(network.peers).toEqual([
    { node: 'n1', address: '192.0.2.1', subnet: '10.64.0.0/24' },
    { node: 'n2', address: '192.0.2.2', subnet: '10.64.1.0/24' },
  ]);
  expect(cluster.events.map((event) => event.type)).toEqual(['NodeJoined', 'NodeJoined']);
});

test('nodes that come at the same time get different subnets, and a node keeps its own when it returns', async () => {
  const agents = await Promise.all(['n1', 'n2', 'n3'].map((node) => cluster.connected(node)));
  const subnets = await Promise.all(agents.map((agent) => agent.next((message) => message.welcome?.subnet)));
  expect(new Set(subnets).size).toBe(3);
  agents[1]!.close();
  await agents[1]!.ended;
  const again = await cluster.connected('n2', { epoch: 2 });
  expect(await again.next((message) => message.welcome)).toMatchObject({ subnet: subnets[1], session: 2 });
});

test('thirty new nodes that come in one moment all get in, each with a subnet of its own', async () => {
  await cluster.close();
  const nodes = Array.from({ length: 30 }, (_, index) => `n${index}`);
  cluster = await startHarness({ nodes });
  const transact = cluster.store.transact.bind(cluster.store);
  // a commit takes its time, so that those who do not wait for each other all read the same
  cluster.store.transact = async (transaction) => {
    await new Promise((resolve) => setImmediate(resolve));
    return await transact(transaction);
  };
  const agents = await Promise.all(nodes.map((node) => cluster.connected(node)));
  const subnets = await Promise.all(agents.map((agent) => agent.next((message) => message.welcome?.subnet)));
  expect(new Set(subnets).size).toBe(30);
});

test('an assignment reaches the agent as a change, and its removal too', async () => {
  const agent = await cluster.connected('n1');
  await cluster.assign({ id: 'c1', node: 'n1' });
  const change = await agent.next((message) => !message.assignments?.snapshot && message.assignments);
  expect(change.upserts.map((assignment) => assignment.id)).toEqual(['c1']);
  expect(change.revision).toBeGreaterThan(0);
  await cluster.put({ kind: 'delete', key: keys.assignment('n1', 'c1') });
  expect((await agent.next((message) => (message.assignments?.removals.length ? message.assignments : undefined))).removals).toEqual([
    'c1',
  ]);
});

test('a status is stored and acknowledged only then; its container serves', async () => {
  await cluster.assign({ id: 'c1', node: 'n1' });
  const agent = await cluster.connected('n1');
  const sequence = agent.running('c1', '10.64.0.5');
  expect(await agent.next((message) => message.statusAck?.sequence)).toBe(sequence);
  const stored = await cluster.store.get(keys.status('n1', 'c1'));
  expect(ContainerStatus.decode(stored!.value)).toMatchObject({ id: 'c1', node: 'n1', ready: true, epoch: 1, sequence });
  const endpoints = await agent.next((message) => (message.endpoints?.services[0]?.endpoints.length ? message.endpoints : undefined));
  expect(endpoints.services[0]).toMatchObject({ key: web, endpoints: [{ containerId: 'c1', address: '10.64.0.5', node: 'n1', slot: 1 }] });
});

test('while the store is away nothing is acknowledged; then the newest status of each container is', async () => {
  await cluster.assign({ id: 'c1', node: 'n1' });
  const agent = await cluster.connected('n1');
  cluster.store.setAvailable(false);
  agent.report({ id: 'c1', state: ContainerState.preparing });
  agent.report({ id: 'c1', state: ContainerState.starting });
  const last = agent.running('c1');
  await agent.beat();
  expect(agent.received.some((message) => message.statusAck)).toBe(false);
  expect(cluster.gateway.queues.statuses).toBe(1);
  cluster.store.setAvailable(true);
  await cluster.clock.advance(1000);
  expect(await agent.next((message) => message.statusAck?.sequence)).toBe(last);
  expect(ContainerStatus.decode((await cluster.store.get(keys.status('n1', 'c1')))!.value).state).toBe(ContainerState.running);
});

test('a write whose answer was lost is found done and acknowledged', async () => {
  await cluster.assign({ id: 'c1', node: 'n1' });
  const agent = await cluster.connected('n1');
  cluster.store.inject({ call: 'transact', applied: true });
  const sequence = agent.running('c1');
  await cluster.until(() => cluster.view.statuses.has('c1'));
  await cluster.clock.advance(100);
  expect(await agent.next((message) => message.statusAck?.sequence)).toBe(sequence);
});

test('an older status never overwrites a newer one, whoever wrote it', async () => {
  await cluster.assign({ id: 'c1', node: 'n1' });
  const agent = await cluster.connected('n1');
  const newer = ContainerStatus.create({ id: 'c1', node: 'n1', state: ContainerState.complete, epoch: 1, sequence: 50 });
  // as another gateway would, unseen by ours
  await cluster.store
    .connect()
    .transact({ compare: [], writes: [{ kind: 'put', key: keys.status('n1', 'c1'), value: ContainerStatus.encode(newer) }] });
  const sequence = agent.running('c1');
  expect(await agent.next((message) => message.statusAck?.sequence)).toBe(sequence);
  expect(ContainerStatus.decode((await cluster.store.get(keys.status('n1', 'c1')))!.value).state).toBe(ContainerState.complete);
});

test('a node cannot write the status or the usage of a container of another node', async () => {
  await cluster.assign({ id: 'c2', node: 'n2' });
  const agent = await cluster.connected('n1');
  const sequence = agent.running('c2');
  agent.send({ report: Report.create({ ids: ['c2'], usages: [Usage.create({ cpuMillis: 7 })], node: Usage.create({ cpuMillis: 9 }) }) });
  expect(await agent.next((message) => message.statusAck?.sequence)).toBe(sequence);
  await agent.beat();
  expect((await cluster.store.list('/gantry/v1/status/')).items).toEqual([]);
  expect(cluster.gateway.usage.latest('c2')).toBeUndefined();
  expect(cluster.gateway.usage.node('n1')).toMatchObject({ cpuMillis: 9 });
});

test('a container of which nothing is left has an end, also one that never reported', async () => {
  await cluster.assign({ id: 'c1', node: 'n1', desired: AssignmentDesired.stop });
  const agent = await cluster.connected('n1');
  agent.removed('c1');
  await cluster.until(() => cluster.view.statuses.get('c1')?.value.state === ContainerState.complete);
});

test('a status that comes after its assignment has gone leaves nothing behind', async () => {
  await cluster.assign({ id: 'c1', node: 'n1' });
  await cluster.put({
    kind: 'put',
    key: keys.status('n1', 'c1'),
    value: ContainerStatus.encode(ContainerStatus.create({ id: 'c1', node: 'n1' })),
  });
  await cluster.put({ kind: 'delete', key: keys.assignment('n1', 'c1') });
  await cluster.settled();
  await cluster.clock.advance(50);
  await cluster.until(() => !cluster.view.statuses.has('c1'));
});

test('a serving container is told to stop only when every agent no longer sends traffic to it', async () => {
  await cluster.assign({ id: 'c1', node: 'n1' });
  const holder = await cluster.connected('n1');
  const slow = await cluster.connected('n2', { acknowledgeEndpoints: false });
  slow.send({ endpointsAck: { version: (await slow.next((message) => message.endpoints)).version } });
  holder.running('c1');
  const serving = await slow.next((message) => (message.endpoints?.services[0]?.endpoints.length ? message.endpoints : undefined));
  slow.send({ endpointsAck: { version: serving.version } });
  holder.clear();
  await cluster.assign({ id: 'c1', node: 'n1', desired: AssignmentDesired.stop });
  const without = await slow.next((message) => message.endpoints && message.endpoints.version > serving.version && message.endpoints);
  expect(without.services[0]!.endpoints).toEqual([]);
  await holder.next((message) => message.endpoints);
  await holder.beat();
  expect(holder.received.some((message) => message.assignments)).toBe(false);
  slow.send({ endpointsAck: { version: without.version } });
  const stop = await holder.next((message) => message.assignments);
  expect(stop.upserts).toMatchObject([{ id: 'c1', desired: AssignmentDesired.stop }]);
});

test('an agent that never acknowledges endpoints holds a stop up for two seconds at most', async () => {
  await cluster.assign({ id: 'c1', node: 'n1' });
  const holder = await cluster.connected('n1');
  await cluster.connected('n2', { acknowledgeEndpoints: false });
  holder.running('c1');
  await holder.next((message) => message.endpoints?.services[0]?.endpoints.length);
  holder.clear();
  await cluster.assign({ id: 'c1', node: 'n1', desired: AssignmentDesired.stop });
  expect(cluster.gateway.queues.holds).toBe(1);
  await cluster.clock.advance(1999);
  expect(holder.received.some((message) => message.assignments)).toBe(false);
  await cluster.clock.advance(1);
  await holder.next((message) => message.assignments);
});

test('a newer agent of a node ends the session of the older; the older cannot come back', async () => {
  const old = await cluster.connected('n1', { epoch: 3 });
  await cluster.connected('n1', { epoch: 4 });
  expect(await old.next((message) => message.goodbye)).toMatchObject({ removed: false });
  await old.ended;
  const copy = cluster.agent('n1', { epoch: 3 });
  copy.hello();
  expect(await copy.ended).toMatchObject({ code: Code.failedPrecondition });
  const hasty = cluster.agent('n1', { epoch: 3 });
  hasty.hello();
  const refusal = (await hasty.ended) as GantryError;
  expect(refusal).toMatchObject({ code: Code.resourceExhausted });
  expect(refusal.details.retryAfterMs).toBeGreaterThan(0);
});

test('a second agent with the same epoch is refused while the first is alive, and let in when it is silent', async () => {
  const first = await cluster.connected('n1');
  const twin = cluster.agent('n1');
  twin.hello();
  expect(await twin.ended).toMatchObject({ code: Code.failedPrecondition });
  await first.beat();
  await cluster.clock.advance(2500);
  await cluster.connected('n1');
  await first.ended;
});

test('a hello for another node, a stream without hello and a second hello end the session with an error', async () => {
  const liar = cluster.agent('n1');
  liar.hello({ node: 'n2' });
  expect(await liar.ended).toMatchObject({ code: Code.permissionDenied });
  const rude = cluster.agent('n1');
  rude.heartbeat();
  expect(await rude.ended).toMatchObject({ code: Code.invalidArgument });
  const silent = cluster.agent('n1');
  silent.send(AgentMessage.create({}));
  expect(await silent.ended).toMatchObject({ code: Code.invalidArgument });
  const twice = await cluster.connected('n1');
  twice.hello();
  expect(await twice.ended).toMatchObject({ code: Code.invalidArgument });
});

test('a removed node is sent away at once and its record goes', async () => {
  const agent = await cluster.connected('n1');
  const removed = NodeSettings.create({ name: 'n1', removed: true });
  await cluster.put({ kind: 'put', key: keys.node('n1'), value: NodeSettings.encode(removed) });
  expect(await agent.next((message) => message.goodbye)).toMatchObject({ removed: true });
  await agent.ended;
  await cluster.clock.advance(50);
  await cluster.until(() => !cluster.view.machines.has('n1'));
});

test('a node may read the config and secret contents that its containers were given, and no others', async () => {
  const secret = StoredFile.create({ name: 'password', content: Buffer.from('hunter2').map((byte) => byte ^ 0xff) });
  await cluster.put(
    { kind: 'put', key: keys.secret('default', 'shop', 'password', 'd1'), value: StoredFile.encode(secret) },
    {
      kind: 'put',
      key: keys.config('default', 'shop', 'web.conf', 'd2'),
      value: StoredFile.encode({ ...secret, content: Buffer.from('plain') }),
    },
  );
  await cluster.assign({ id: 'c1', node: 'n1', fileDigests: { 'secret/password': 'd1', 'config/web.conf': 'd2' } });
  const read = (node: string, init: Partial<GetFileRequest>) =>
    cluster.agent(node).client.getFile(GetFileRequest.create({ key: web, ...init }), { headers: { node } });
  const wanted = { secret: true, name: 'password', digest: 'd1' };
  expect(Buffer.from((await read('n1', wanted)).content).toString()).toBe('hunter2');
  expect(Buffer.from((await read('n1', { name: 'web.conf', digest: 'd2' })).content).toString()).toBe('plain');
  await expect(read('n2', wanted)).rejects.toMatchObject({ code: Code.permissionDenied });
  await expect(read('n1', { ...wanted, digest: 'd0' })).rejects.toMatchObject({ code: Code.permissionDenied });
  await expect(read('n1', { ...wanted, name: '../x' })).rejects.toMatchObject({ code: Code.permissionDenied });
  await expect(read('n1', { ...wanted, key: { ...web, service: 'db' } })).rejects.toMatchObject({ code: Code.permissionDenied });
});

test('logs flow from the agent that was asked, and end when the reader leaves', async () => {
  const agent = await cluster.connected('n1');
  const lines: string[] = [];
  const reading = (async () => {
    for await (const entry of cluster.gateway.streams.logs(
      'n1',
      LogCommand.create({ containerId: 'c1', follow: true }),
      new AbortController().signal,
    )) {
      lines.push(Buffer.from(entry.line).toString());
      if (lines.length === 2) break;
    }
  })();
  const { stream, logs } = await agent.next((message) => message.command);
  expect(logs).toMatchObject({ containerId: 'c1', follow: true });
  let told = false;
  async function* entries() {
    const entry = { at: 0, stream: 0 as const, containerId: 'c1', container: '', node: 'n1', error: false };
    yield { stream, entries: [{ ...entry, line: Buffer.from('one') }], error: '' };
    yield { stream: '', entries: [{ ...entry, line: Buffer.from('two') }], error: '' };
    await reading;
  }
  for await (const control of agent.client.logStream(entries(), { headers: { node: 'n1' } })) told = control.cancel;
  await reading;
  expect(lines).toEqual(['one', 'two']);
  expect(told).toBe(true);
});

test('exec carries inputs down and outputs up until the command has ended', async () => {
  const agent = await cluster.connected('n1');
  async function* inputs() {
    yield { stdin: Buffer.from('hi') };
    yield { stdinClosed: true };
  }
  const outputs: string[] = [];
  const command = { containerId: 'c1', start: ExecStart.create({ command: ['cat'] }) };
  const using = (async () => {
    for await (const output of cluster.gateway.streams.exec('n1', command, inputs(), new AbortController().signal)) {
      outputs.push(output.exit ? `exit ${output.exit.exitCode}` : Buffer.from(output.stdout!).toString());
    }
  })();
  const { stream, exec } = await agent.next((message) => message.command);
  expect(exec?.start?.command).toEqual(['cat']);
  const echoes: (() => void)[] = [];
  let typed = '';
  async function* answers() {
    yield { stream, output: null };
    await new Promise<void>((resolve) => echoes.push(resolve));
    yield { stream: '', output: { stdout: Buffer.from(typed) } };
    yield { stream: '', output: { exit: { exitCode: 3, error: '' } } };
  }
  for await (const input of agent.client.execStream(answers(), { headers: { node: 'n1' } })) {
    if (input.stdin) typed += Buffer.from(input.stdin).toString();
    if (input.stdinClosed) echoes[0]!();
  }
  await using;
  expect(outputs).toEqual(['hi', 'exit 3']);
});

test('a stream nobody asked for, of another node or opened twice is refused', async () => {
  const agent = await cluster.connected('n1');
  await cluster.connected('n2');
  const open = async (node: string, stream: string) => {
    async function* entries() {
      yield { stream, entries: [], error: '' };
    }
    for await (const _ of agent.client.logStream(entries(), { headers: { node } }));
  };
  await expect(open('n1', 'made-up')).rejects.toMatchObject({ code: Code.notFound });
  const aborter = new AbortController();
  const reading = cluster.gateway.streams.logs('n1', LogCommand.create(), aborter.signal)[Symbol.asyncIterator]().next();
  const { stream } = await agent.next((message) => message.command);
  await expect(open('n2', stream)).rejects.toMatchObject({ code: Code.notFound });
  aborter.abort();
  await expect(reading).rejects.toMatchObject({ code: Code.cancelled });
  await expect(open('n1', stream)).rejects.toMatchObject({ code: Code.notFound });
});

test('an agent that does not open the stream in time, or is not there, is reported as unavailable', async () => {
  const agent = await cluster.connected('n1');
  const read = (node: string) =>
    cluster.gateway.streams.logs(node, LogCommand.create(), new AbortController().signal)[Symbol.asyncIterator]().next();
  const reading = read('n1');
  const failed = expect(reading).rejects.toMatchObject({ code: Code.unavailable });
  await agent.next((message) => message.command);
  for (let second = 0; second < 10; second++) {
    agent.heartbeat();
    await cluster.clock.advance(1000);
  }
  await failed;
  await expect(read('n9')).rejects.toMatchObject({ code: Code.unavailable, message: expect.stringContaining('not connected') });
});

test('images are listed by asking the agent', async () => {
  const agent = await cluster.connected('n1');
  const listing = cluster.gateway.streams.images('n1', new AbortController().signal);
  const request = (await agent.next((message) => message.command?.inventory)).request;
  agent.send({ inventory: { request, images: [{ node: 'liar', reference: 'busybox', digest: 'd', sizeBytes: 1, pulledAt: 0 }] } });
  expect(await listing).toMatchObject([{ node: 'n1', reference: 'busybox' }]);
});
