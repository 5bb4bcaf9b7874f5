import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, GantryError } from '@gantry/common';
import {
  ApplyResponse,
  type Container,
  Event,
  type ExecInput,
  FilterCount,
  ListContainersResponse,
  ListEventsResponse,
  ListNodesResponse,
  ListServicesResponse,
  LogEntry,
  LogEntryStream,
  NearMiss,
  NodeCapacity,
  NodeScore,
  Operation,
  OperationState,
  Placement,
  PlannedPlacement,
  PlanResponse,
  Refusal,
  Resources,
  Rollout,
  RolloutState,
  ServiceChange,
  ServiceChangeKind,
  ServiceEvent,
  ServiceSpec,
  type ServiceView,
  Shortfall,
  WhyResponse,
} from '@gantry/proto';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { FakeServer } from '../testing/fake-server.ts';
import { aContainer, aNode, aService, watching } from '../testing/records.ts';
import { runCli } from '../testing/run-cli.ts';

let server: FakeServer;
let folder: string;

beforeAll(async () => {
  server = await FakeServer.start();
  folder = mkdtempSync(join(tmpdir(), 'gantry-cli-'));
});
afterEach(() => {
  for (const name of Object.keys(server.answers)) delete server.answers[name as keyof typeof server.answers];
});
afterAll(() => {
  server.stop();
  rmSync(folder, { recursive: true });
});

const cli = (...args: string[]) => runCli(server.client, args);

function manifest(text: string): string {
  const path = join(folder, 'compose.yaml');
  writeFileSync(path, text);
  return path;
}
const good = 'name: demo\nservices:\n  web:\n    image: registry.example/web:1\n';

function answerContainers(...containers: Container[]): void {
  server.answers.services = { list: async () => ListServicesResponse.create({ services: [aService()] }) };
  server.answers.containers = { list: async () => ListContainersResponse.create({ containers }) };
}

test('ps shows state, restarts and the last reason', async () => {
  answerContainers(
    aContainer({ restarts: 3, lastReason: 'killed by\nsignal 9' }),
    aContainer({ name: 'demo/web.2', id: '', node: '', state: 0 }),
  );
  const { status, stdout } = await cli('ps', 'demo/web');
  expect(status).toBe(0);
  const [header, first, second] = stdout.split('\n');
  expect(header).toMatch(/^NAME +ID +NODE +STATE +RESTARTS +AGE +PORTS +REASON$/);
  expect(first).toMatch(/^demo\/web\.1 +0123456789ab +n1 +running +3 +\S+ +killed by signal 9$/);
  expect(second).toMatch(/^demo\/web\.2 +- +- +pending/);
});

test('JSON is the mapping of the whole answer over all pages', async () => {
  const pages: string[] = [];
  server.answers.containers = {
    list: async ({ page }) => {
      pages.push(page?.token ?? '');
      const containers = [aContainer({ name: `demo/web.${pages.length}` })];
      return ListContainersResponse.create({ containers, nextToken: pages.length < 3 ? `p${pages.length}` : '' });
    },
  };
  const { stdout } = await cli('ps', '-o', 'json');
  expect(pages).toEqual(['', 'p1', 'p2']);
  const answer = JSON.parse(stdout) as { containers: Record<string, unknown>[] };
  expect(answer.containers.map((one) => one.name)).toEqual(['demo/web.1', 'demo/web.2', 'demo/web.3']);
  expect(answer.containers[0]).toMatchObject({ state: 'running', health: 'none', exitCode: 0, usage: { cpuMillis: 498 } });
});

test('every format of a listing is printed', async () => {
  answerContainers(aContainer());
  expect((await cli('ps', '-o', 'name')).stdout).toBe('demo/web.1\n');
  expect((await cli('ps', '-o', 'yaml')).stdout).toContain('name: demo/web.1');
  expect((await cli('ps', '-o', 'wide')).stdout).toContain('registry.example/web:1');
  expect((await cli('ps', '-o', 'xml')).status).toBe(1);
});

test('an empty listing says so on standard error', async () => {
  answerContainers();
  await expect(cli('ps')).resolves.toEqual({ status: 0, stdout: '', stderr: 'No containers.\n' });
});

test('top shows the busiest first', async () => {
  answerContainers(
    aContainer({ usage: null }),
    aContainer({ name: 'demo/a.1', usage: { ...aContainer().usage!, cpuMillis: 1 } }),
    aContainer({ name: 'demo/b.1' }),
  );
  const { stdout } = await cli('top');
  expect(
    stdout
      .split('\n')
      .slice(1, 3)
      .map((line) => line.split(/ +/)[0]),
  ).toEqual(['demo/b.1', 'demo/a.1']);
  expect(stdout).toMatch(/demo\/b\.1 +n1 +498m +64Mi/);
  server.answers.nodes = { list: async () => ListNodesResponse.create({ nodes: [aNode({ usage: aContainer().usage })] }) };
  expect((await cli('top', 'nodes')).stdout).toMatch(/n1 .*498m/);
  expect((await cli('top', 'services')).stdout).toMatch(/demo\/web /);
  expect((await cli('top', 'planets')).status).toBe(1);
});

test('a word may be an app, a service, or the beginning of an id', async () => {
  answerContainers(aContainer(), aContainer({ name: 'demo/web.2', id: 'fedcba987654' }));
  server.answers.containers!.get = async ({ container }) => {
    if (container === '0123') return aContainer();
    throw new GantryError(Code.notFound, 'no such container');
  };
  expect((await cli('ps', '-o', 'name', '0123')).stdout).toBe('demo/web.1\n');
  expect((await cli('ps', '-o', 'name', 'demo/web.2')).stdout).toBe('demo/web.2\n');
  expect((await cli('ps', '-o', 'name', 'web')).stdout).toBe('demo/web.1\ndemo/web.2\n');
  const unknown = await cli('ps', 'nobody');
  expect(unknown).toMatchObject({
    status: 1,
    stderr: 'error: cannot find "nobody": no app, service or container of that name\nhint: gantry ps lists them\n',
  });
});

function answerApply(views: ServiceView[], later: ServiceView[] = []): void {
  server.answers.apps = {
    apply: async () =>
      ApplyResponse.create({ revision: 10, changes: [ServiceChange.create({ service: 'web', kind: ServiceChangeKind.created })] }),
  };
  server.answers.services = { watch: watching(views, later) };
  server.answers.containers = {
    list: async () => ListContainersResponse.create({ containers: [aContainer({ ready: false, state: 7, reason: 'exit code 1' })] }),
  };
}

test('apply tells its progress line by line and exits 0 when all is ready', async () => {
  answerApply([aService({ ready: 0 })], [aService({ ready: 1 }), aService()]);
  const { status, stdout, stderr } = await cli('apply', '-f', manifest(good));
  expect(stderr).toBe('demo/web  0/2 ready\ndemo/web  1/2 ready\ndemo/web  2/2 ready\n');
  expect(stdout).toBe('done demo: web created\n');
  expect(status).toBe(0);
});

test('apply exits 2 after a roll-back and says why', async () => {
  const rollout = Rollout.create({
    state: RolloutState.rolled_back,
    toRevision: 2,
    targetRevision: 1,
    reason: '1 of 2 failed: exit code 3',
  });
  answerApply([aService({ rollout }, 2)]);
  const { status, stderr } = await cli('apply', '-f', manifest(good));
  expect(status).toBe(2);
  expect(stderr).toContain('rolled back demo: demo/web: 1 of 2 failed: exit code 3');
});

const refusal = Refusal.create({
  message: 'no node has cpu 3 free: 3 nodes, most free n2 with 2',
  nodes: 3,
  funnel: [
    FilterCount.create({ filter: 'ready', need: 'ready', passed: 3 }),
    FilterCount.create({ filter: 'cpu', need: 'cpu 3', rejected: 3 }),
  ],
  nearest: [
    NearMiss.create({ node: 'n2', shortfalls: [Shortfall.create({ dimension: 'cpu', missing: 1000, free: 2000, capacity: 2000 })] }),
    NearMiss.create({ node: 'n1', detail: 'cordoned' }),
  ],
  suggestions: ['lower cpu to 2', 'add 1 node like n2'],
});
const refused = aService({ ready: 1, pending: 1, refusal });
refused.service!.spec = ServiceSpec.create({
  name: 'web',
  reservation: Resources.create({ cpuMillis: 3000, memoryBytes: 64 * 2 ** 20 }),
  placement: Placement.create({ constraints: ['node.labels.disk == ssd'] }),
});

test('apply exits 3 when a container finds no place, with the funnel and what would help', async () => {
  answerApply([refused]);
  const { status, stderr } = await cli('apply', '-f', manifest(good), '--timeout', '50ms');
  expect(status).toBe(3);
  expect(stderr.split('\n').slice(1)).toEqual([
    'not placed demo:',
    'demo/web pending   needs cpu 3  mem 64Mi   node.labels.disk == ssd',
    'no node has cpu 3 free: 3 nodes, most free n2 with 2',
    '3 nodes -> ready 3 -> cpu 0',
    'nearest   n2  cpu short 1 (2 free of 2)',
    '          n1  cordoned',
    'place it  lower cpu to 2 · add 1 node like n2',
    '',
  ]);
});

test('apply exits 4 at its deadline and names what is not ready', async () => {
  answerApply([aService({ ready: 1 })]);
  const { status, stderr } = await cli('apply', '-f', manifest(good), '--timeout', '50ms');
  expect(status).toBe(4);
  expect(stderr).toContain('look again with: gantry ps demo');
  expect(stderr).toContain('demo/web.1  failed  exit code 1');
});

test('Ctrl-C ends the wait of apply and says how to look again; --detach does not wait', async () => {
  answerApply([aService({ ready: 1 })]);
  const controller = new AbortController();
  const interrupted = runCli(server.client, ['apply', '-f', manifest(good)], controller.signal);
  server.answers.services = {
    watch: async function* (request, context) {
      controller.abort();
      yield* watching([aService({ ready: 1 })])(request, context);
    },
  };
  await expect(interrupted).resolves.toMatchObject({
    status: 130,
    stderr: expect.stringContaining('look again with: gantry ps demo') as string,
  });
  await expect(cli('apply', '-f', manifest(good), '--detach')).resolves.toMatchObject({
    status: 0,
    stdout: expect.stringContaining('goes on in the background') as string,
  });
});

test('a wrong manifest is shown with every error, its line and a caret; nothing is sent', async () => {
  const path = manifest('name: demo\nservices:\n  web:\n    imag: x\n    ports: ["0:80"]\n');
  const { status, stderr } = await cli('apply', '-f', path);
  expect(status).toBe(1);
  expect(stderr).toContain(`error: ${path}:4:5: cannot read "services.web.imag": unknown key`);
  expect(stderr).toContain('  4 |     imag: x\n          ^\n');
  expect(stderr).toContain('hint: did you mean "image"?');
  expect(stderr).toContain(`error: ${path}:5:13: `);
});

test('a manifest that is not there is an error', async () => {
  await expect(cli('plan', '-f', join(folder, 'nothing.yaml'))).resolves.toMatchObject({
    status: 1,
    stderr: expect.stringContaining('there is no such file') as string,
  });
});

test('plan shows the diff, the nodes and the capacity, and exits 10; 0 without a change', async () => {
  const placement = { service: 'web', node: 'n1' };
  server.answers.apps = {
    plan: async () =>
      PlanResponse.create({
        changes: [
          ServiceChange.create({
            service: 'web',
            kind: ServiceChangeKind.updated,
            fields: [{ path: 'container.image', before: '"x:1"', after: '"x:2"' }],
          }),
        ],
        placements: [1, 2]
          .map((slot) => PlannedPlacement.create({ ...placement, slot }))
          .concat(PlannedPlacement.create({ service: 'web', slot: 3, refusal })),
        capacity: [
          NodeCapacity.create({
            node: 'n1',
            capacity: Resources.create({ cpuMillis: 2000 }),
            reservedBefore: Resources.create({ cpuMillis: 100 }),
            reservedAfter: Resources.create({ cpuMillis: 300 }),
          }),
        ],
      }),
  };
  const { status, stdout } = await cli('plan', '-f', manifest(good));
  expect(status).toBe(10);
  expect(stdout).toContain(
    '~ demo/web updated\n    - container.image: "x:1"\n    + container.image: "x:2"\n    goes to n1 x2\n    1 would not fit: no node has cpu 3',
  );
  expect(stdout).toMatch(/n1 +100m -> 300m of 2 /);
  server.answers.apps = { plan: async () => PlanResponse.create({ changes: [ServiceChange.create({ service: 'web' })] }) };
  await expect(cli('plan', '-f', manifest(good))).resolves.toMatchObject({ status: 0, stdout: 'demo: no change\n' });
});

test('why prints the refusal of a service, and node and scores of a container', async () => {
  server.answers.containers = {
    why: async ({ target }) => WhyResponse.create({ subject: target, refusal, service: refused, summary: 'it has no place' }),
  };
  const { stdout } = await cli('why', 'demo/web');
  expect(stdout).toMatch(/^demo\/web pending {3}needs cpu 3/);
  expect(stdout).toMatch(/3 nodes -> ready 3 -> cpu 0\nnearest {3}n2/);
  const scores = [
    NodeScore.create({ node: 'n3', score: 0.75, parts: [{ name: 'fit', weight: 0.5, value: 1.5 }] }),
    NodeScore.create({ node: 'n1', score: 0.5 }),
  ];
  server.answers.containers = {
    why: async () => WhyResponse.create({ subject: 'demo/web.1', summary: 'demo/web.1 is running on n3', scores }),
  };
  expect((await cli('why', 'demo/web.1')).stdout).toBe(
    'demo/web.1 is running on n3\nplaced on  n3  score 0.750 = fit 0.75\nrunner-up  n1  score 0.500\n',
  );
});

test('scale asks, waits until so many are ready, and refuses what is no number', async () => {
  const asked: number[] = [];
  answerApply([aService()], [aService({ desired: 3, ready: 2 }), aService({ desired: 3, ready: 3, updated: 3, containers: 3 })]);
  server.answers.services!.scale = async ({ replicas }) => {
    asked.push(replicas);
    return aService();
  };
  await expect(cli('scale', 'demo/web=3')).resolves.toMatchObject({ status: 0, stdout: 'done demo/web: scaled to 3\n' });
  expect(asked).toEqual([3]);
  await expect(cli('scale', 'demo/web=many')).resolves.toMatchObject({
    status: 1,
    stderr: 'error: cannot read "demo/web=many": must be SERVICE=NUMBER\n',
  });
});

test('restart waits for the rollout that it asked for, not for the one before', async () => {
  const restarted = aService();
  restarted.rollout!.startedAt = 2;
  answerApply([aService()], [restarted]);
  Object.assign(server.answers.services!, { get: async () => aService(), restart: async () => aService() });
  await expect(cli('restart', 'demo/web')).resolves.toMatchObject({ status: 0, stdout: 'done demo/web: restarted\n' });
});

test('rm waits until the last service is gone', async () => {
  const leaving = aService();
  leaving.service!.deletedAt = 5;
  let removed = false;
  server.answers.apps = {
    delete: async () => {
      removed = true;
      return { changes: [], revision: 1 };
    },
  };
  server.answers.services = {
    list: async () => ListServicesResponse.create({ services: [aService()] }),
    watch: async function* (_request, { signal }) {
      yield ServiceEvent.create({ service: leaving, revision: 1 });
      yield ServiceEvent.create({ synced: true, revision: 1 });
      yield ServiceEvent.create({ service: leaving, removed: true, revision: 2 });
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  };
  await expect(cli('rm', '--yes', 'demo')).resolves.toMatchObject({
    status: 0,
    stdout: 'done demo: removed\n',
    stderr: 'demo/web  removing, 2 left\n',
  });
  expect(removed).toBe(true);
});

test('logs go to the stream they came from, with the name before each line of a service', async () => {
  const line = (text: string, stream: LogEntryStream) =>
    LogEntry.create({ container: 'demo/web.1', containerId: 'a', line: Buffer.from(text), stream, at: 1_700_000_000_000_000 });
  server.answers.logs = {
    read: async function* () {
      yield line('hello', LogEntryStream.stdout);
      yield line('oops', LogEntryStream.stderr);
    },
  };
  await expect(cli('logs', 'demo/web')).resolves.toEqual({ status: 0, stdout: 'demo/web.1 | hello\n', stderr: 'demo/web.1 | oops\n' });
  await expect(cli('logs', '-t', 'demo/web.1')).resolves.toMatchObject({ stdout: '2023-11-14T22:13:20.000Z hello\n' });
  await expect(cli('logs', '--since', 'yesterday', 'demo/web')).resolves.toMatchObject({
    status: 1,
    stderr: expect.stringContaining('duration') as string,
  });
});

test('exec passes the exit code and both streams', async () => {
  const seen: string[][] = [];
  server.answers.exec = {
    exec: async function* (inputs) {
      const { start } = ((await inputs[Symbol.asyncIterator]().next()) as { value: ExecInput }).value;
      if (start) seen.push(start.command, [String(start.environment.A), start.container]);
      yield { stdout: Buffer.from('out') };
      yield { stderr: Buffer.from('err') };
      yield { exit: { exitCode: 7, error: '' } };
    },
  };
  await expect(cli('exec', '-e', 'A=1', 'demo/web.1', '--', 'sh', '-c', 'exit 7')).resolves.toEqual({
    status: 7,
    stdout: 'out',
    stderr: 'err',
  });
  expect(seen).toEqual([
    ['sh', '-c', 'exit 7'],
    ['1', 'demo/web.1'],
  ]);
  await expect(cli('exec', '-t', 'demo/web.1', 'sh')).resolves.toMatchObject({
    status: 1,
    stderr: expect.stringContaining('leave -t away') as string,
  });
});

test('events are shown oldest first; followed as JSON they are one a line', async () => {
  const event = (id: string, at: number) => Event.create({ id, at, type: 'NodeLost', subject: 'node/n1', message: 'gone' });
  server.answers.events = {
    list: async () => ListEventsResponse.create({ events: [event('b', 2e15), event('a', 1e15)] }),
    watch: async function* () {
      yield event('b', 2e15);
      yield event('c', 3e15);
    },
  };
  expect((await cli('events')).stdout.split('\n')[1]).toMatch(/^2001-09-09T01:46:40.000Z +NodeLost +node\/n1 +gone/);
  const { stdout } = await cli('events', '-f', '-o', 'json');
  expect(
    stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { id: string }).id),
  ).toEqual(['a', 'b', 'c']);
});

test('a drain shows its steps and ends with the operation', async () => {
  const step = (state: OperationState, done: number, message = '') =>
    Operation.create({ id: 'op', kind: 'drain', subject: 'node/n1', state, done, total: 2, message });
  server.answers.nodes = { drain: async () => step(OperationState.pending, 0) };
  server.answers.operations = {
    watch: async function* () {
      yield step(OperationState.running, 0, 'replacing demo/web.1');
      yield step(OperationState.running, 1);
      yield step(OperationState.succeeded, 2);
    },
  };
  const { status, stdout, stderr } = await cli('node', 'drain', 'n1');
  expect(status).toBe(0);
  expect(stdout).toBe('drain node/n1: done\n');
  expect(stderr).toBe('drain node/n1: running 0/2, replacing demo/web.1\ndrain node/n1: running 1/2\ndrain node/n1: succeeded 2/2\n');
  server.answers.operations.watch = async function* () {
    yield step(OperationState.failed, 1, 'demo/web.1 fits nowhere');
  };
  await expect(cli('node', 'drain', 'n1')).resolves.toMatchObject({ status: 1, stderr: expect.stringContaining('fits nowhere') as string });
});

test('labels and taints of nodes are set and removed', async () => {
  const asked: unknown[] = [];
  server.answers.nodes = {
    update: async (request) => {
      asked.push([request.setLabels, request.removeLabels, request.setTaints, request.removeTaints]);
      return aNode();
    },
  };
  await cli('node', 'label', 'n1', 'disk=ssd', 'zone-');
  await cli('node', 'taint', 'n1', 'gpu=yes:no-execute', 'old-');
  expect(asked).toEqual([
    [{ disk: 'ssd' }, ['zone'], [], []],
    [{}, [], [{ key: 'gpu', value: 'yes', effect: 2 }], ['old']],
  ]);
  expect((await cli('node', 'taint', 'n1', 'gpu:maybe')).status).toBe(1);
});

test('an error of the server is one block with its hint', async () => {
  server.answers.nodes = {
    list: () => {
      throw new GantryError(Code.unavailable, 'cannot read nodes: etcd does not answer', { details: { hint: 'look at gantry doctor' } });
    },
  };
  await expect(cli('nodes')).resolves.toEqual({
    status: 1,
    stdout: '',
    stderr: 'error: cannot read nodes: etcd does not answer\nhint: look at gantry doctor\n',
  });
});

test('text of a remote end cannot move the cursor', async () => {
  answerContainers(aContainer({ state: 7, reason: '\u001b[2Jgone\u0007' }));
  const { stdout } = await cli('ps');
  expect(stdout).toMatch(/ gone\n$/);
  expect(stdout.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
});
