import { Code } from '@gantry/common';
import {
  ClusterService,
  ContainerState,
  ExecInput,
  type ExecOutput,
  ExecService,
  ExecStart,
  ImagesService,
  ListImagesRequest,
  LogEntry,
  LogsService,
  Operation,
  OperationState,
  OperationsService,
  PullImageRequest,
  ReadLogsRequest,
  Service,
  ServiceSpec,
  StatusRequest,
  UsageHistoryRequest,
  WatchOperationRequest,
} from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { keys } from '../store/keys.ts';
import { containerWrites, nodeWrites, startWorld, type World } from './testing/world.ts';

let world: World;
const key = { namespace: 'default', app: 'shop', service: 'web' };
const line = (at: number, text: string) => LogEntry.create({ at, line: Buffer.from(text) });

beforeEach(async () => {
  world = await startWorld();
  const service = Service.create({ key, spec: ServiceSpec.create({ name: 'web', replicas: 2 }), generation: 1 });
  await world.commit(
    { kind: 'put', key: keys.service(key), value: Service.encode(service) },
    ...nodeWrites('n1'),
    ...nodeWrites('n2'),
    ...nodeWrites('away', { connected: false }),
    ...containerWrites('aa', { key, slot: 1 }),
    ...containerWrites('bb', { key, slot: 2, node: 'n2', state: ContainerState.failed }),
  );
});
afterEach(() => world.close());

describe('Logs', () => {
  const read = async (request: Partial<ReadLogsRequest>, until: (seen: LogEntry[]) => boolean = () => false) => {
    const seen: LogEntry[] = [];
    for await (const entry of world.client(LogsService).read(ReadLogsRequest.create(request))) {
      seen.push(entry);
      if (until(seen)) break;
    }
    return seen.map((entry) => `${entry.container} ${entry.error ? 'error' : Buffer.from(entry.line).toString()}`);
  };

  test('of a service are those of all its containers, the ended ones too, in time order', async () => {
    world.streams.logLines.set('aa', [line(1, 'a1'), line(4, 'a4'), line(5, 'a5')]);
    world.streams.logLines.set('bb', [line(2, 'b2'), line(3, 'b3'), line(6, 'b6')]);
    const expected = ['shop/web.1 a1', 'shop/web.2 b2', 'shop/web.2 b3', 'shop/web.1 a4', 'shop/web.1 a5', 'shop/web.2 b6'];
    expect(await read({ target: 'web' })).toEqual(expected);
    expect(await read({ target: 'shop/web' })).toEqual(expected);
    expect(await read({ target: 'web.2', tail: 3 })).toEqual(['shop/web.2 b2', 'shop/web.2 b3', 'shop/web.2 b6']);
    expect(world.streams.commands.at(-1)).toMatchObject({ containerId: 'bb', tail: 3 });
  });

  test('a container that cannot be read says so in a line and hides no other', async () => {
    world.streams.logLines.set('aa', [line(1, 'a1')]);
    expect(await read({ target: 'web' })).toEqual(['shop/web.1 a1', 'shop/web.2 error']);
    await world.commit(...containerWrites('cc', { key, slot: 3, node: 'away' }));
    expect(await read({ target: 'web.3' })).toEqual(['shop/web.3 error']);
  });

  test('followed go on with containers that come later', async () => {
    world.streams.logLines.set('aa', [line(1, 'a1')]);
    world.streams.logLines.set('bb', []);
    world.streams.logLines.set('cc', [line(9, 'c9')]);
    const seen = await read({ target: 'web', follow: true }, (all) => {
      if (all.length === 1) void world.commit(...containerWrites('cc', { key, slot: 3 }));
      return all.length === 2;
    });
    expect(seen).toEqual(['shop/web.1 a1', 'shop/web.3 c9']);
  });

  test('of nothing are NOT_FOUND', async () => {
    await expect(read({ target: 'none' })).rejects.toMatchObject({ code: Code.notFound });
  });
});

describe('Exec', () => {
  async function* inputs(start: Partial<ExecStart>) {
    yield ExecInput.create({ start: ExecStart.create(start) });
    yield ExecInput.create({ stdin: Buffer.from('hello') });
    yield ExecInput.create({ stdinClosed: true });
  }
  const run = async (start: Partial<ExecStart>) => {
    const seen: ExecOutput[] = [];
    for await (const output of world.client(ExecService).exec(inputs(start))) seen.push(output);
    return seen;
  };

  test('passes inputs to the node and outputs back, and leaves an event', async () => {
    const seen = await run({ container: 'web.1', command: ['ls', '-l'] });
    expect(seen.map((output) => (output.stdout ? Buffer.from(output.stdout).toString() : (output.exit?.exitCode ?? 'started')))).toEqual([
      'started',
      'aa: ls -l\n',
      'hello',
      3,
    ]);
    expect(world.events.at(-1)).toMatchObject({ type: 'ContainerExec', message: expect.stringContaining('by ann') });
  });

  test.each([
    ['without a command', { container: 'web.1' }, Code.invalidArgument],
    ['in a container that has ended', { container: 'web.2', command: ['ls'] }, Code.failedPrecondition],
    ['in one that does not exist', { container: 'none', command: ['ls'] }, Code.notFound],
    ['with a relative folder', { container: 'web.1', command: ['ls'], workingDir: 'x' }, Code.invalidArgument],
  ])('%s is refused', async (_, start, code) => {
    await expect(run(start)).rejects.toMatchObject({ code });
  });

  test('a call that sends something else first is refused', async () => {
    async function* wrong() {
      yield ExecInput.create({ stdin: Buffer.from('x') });
    }
    const outputs = world.client(ExecService).exec(wrong());
    await expect(outputs[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: Code.invalidArgument });
  });
});

describe('Images', () => {
  test('are listed of all connected nodes; a node that is away is an error only when it is asked for', async () => {
    const { images } = await world.client(ImagesService).list(ListImagesRequest.create());
    expect(images.map((image) => image.node)).toEqual(['n1', 'n2']);
    await expect(world.client(ImagesService).list(ListImagesRequest.create({ node: 'away' }))).rejects.toMatchObject({
      code: Code.unavailable,
    });
  });

  test('a pull shows the progress of every node and the failure of one', async () => {
    const last = new Map<string, string>();
    for await (const { node, error, finished } of world.client(ImagesService).pull(PullImageRequest.create({ reference: 'web:1' }))) {
      if (finished) last.set(node, error);
    }
    expect(Object.fromEntries(last)).toEqual({ n1: '', n2: 'web:1 is not there' });
  });
});

describe('Operations', () => {
  const put = (init: Partial<Operation>) =>
    world.commit({
      kind: 'put',
      key: keys.operation('op-1'),
      value: Operation.encode(Operation.create({ id: 'op-1', kind: 'drain', ...init })),
    });

  test('a watch shows every step until the end, and ends', async () => {
    await put({ state: OperationState.running, done: 1 });
    const seen: number[] = [];
    for await (const { done } of world.client(OperationsService).watch(WatchOperationRequest.create({ id: 'op-1' }))) {
      seen.push(done);
      if (done === 1) void put({ state: OperationState.running, done: 2 });
      if (done === 2) void put({ state: OperationState.succeeded, done: 3 });
    }
    expect(seen).toEqual([1, 2, 3]);
  });
});

describe('Cluster', () => {
  test('tells of nodes and history', async () => {
    const client = world.client(ClusterService);
    expect(await client.status(StatusRequest.create())).toMatchObject({
      nodes: 3,
      nodesReady: 2,
      components: [{ name: 'leader', healthy: false }],
    });
    for (const target of ['n1', 'node/n1', 'web', 'web.1']) {
      expect((await client.usageHistory(UsageHistoryRequest.create({ target }))).points).toHaveLength(1);
    }
    await expect(client.usageHistory(UsageHistoryRequest.create({ target: 'none' }))).rejects.toMatchObject({ code: Code.notFound });
  });
});
