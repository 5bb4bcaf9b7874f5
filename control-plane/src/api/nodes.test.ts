import { Code } from '@gantry/common';
import {
  ContainerState,
  CreateTokenRequest,
  DrainNodeRequest,
  GetNodeRequest,
  ListNodesRequest,
  ListTokensRequest,
  NodeSettingsAvailability,
  NodeState,
  NodesService,
  RemoveNodeRequest,
  Resources,
  Taint,
  UpdateNodeRequest,
  WatchNodesRequest,
} from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { containerWrites, nodeWrites, startWorld, type World } from './testing/world.ts';

let world: World;
const key = { namespace: 'default', app: 'shop', service: 'web' };
const nodes = () => world.client(NodesService);

beforeEach(async () => {
  world = await startWorld();
  const reservation = Resources.create({ cpuMillis: 100, memoryBytes: 5 });
  await world.commit(
    ...nodeWrites('n1'),
    ...nodeWrites('n2', { connected: false }),
    ...containerWrites('aa', { key, assignment: { reservation } }),
    ...containerWrites('bb', { key, assignment: { reservation } }),
    ...containerWrites('cc', { key, state: ContainerState.complete, assignment: { reservation } }),
  );
});
afterEach(() => world.close());

test('a node shows its state and what its living containers reserve, and no certificate', async () => {
  const { nodes: all } = await nodes().list(ListNodesRequest.create());
  expect(all.map(({ name, state }) => [name, state])).toEqual([
    ['n1', NodeState.ready],
    ['n2', NodeState.unknown],
  ]);
  expect(all[0]).toMatchObject({ containers: 2, reserved: { cpuMillis: 200, memoryBytes: 10 }, settings: { certificateSerial: '' } });
});

describe('Update', () => {
  test('sets and removes labels and taints, cordons, and keeps the rest', async () => {
    const taint = Taint.create({ key: 'gpu', value: 'a' });
    await nodes().update(UpdateNodeRequest.create({ name: 'n1', setLabels: { disk: 'ssd', zone: 'a' }, setTaints: [taint] }));
    const request = {
      name: 'n1',
      removeLabels: ['zone'],
      removeTaints: ['gpu'],
      setAvailability: true,
      availability: NodeSettingsAvailability.cordoned,
    };
    const node = await nodes().update(UpdateNodeRequest.create(request));
    expect(node.settings).toMatchObject({ labels: { disk: 'ssd' }, taints: [], availability: NodeSettingsAvailability.cordoned });
    expect(world.view.nodes.get('n1')?.value.certificateSerial).toBe('s');
  });

  test.each([
    ['an unknown node', { name: 'none' }, Code.notFound],
    ['an unknown availability', { name: 'n1', availability: 9 as never }, Code.invalidArgument],
    ['a taint without a name', { name: 'n1', setTaints: [Taint.create({ key: '' })] }, Code.invalidArgument],
    ['a label of 300 bytes', { name: 'n1', setLabels: { a: 'x'.repeat(300) } }, Code.invalidArgument],
  ])('refuses %s', async (_, request, code) => {
    await expect(nodes().update(UpdateNodeRequest.create(request))).rejects.toMatchObject({ code });
  });
});

test('Drain hands the work to the operations, with the id of the request', async () => {
  const operation = await nodes().drain(DrainNodeRequest.create({ requestId: 'd1', name: 'n1' }));
  expect(operation).toMatchObject({ id: 'd1', kind: 'drain', subject: 'node/n1', createdBy: 'ann' });
  await expect(nodes().drain(DrainNodeRequest.create({ name: 'none' }))).rejects.toMatchObject({ code: Code.notFound });
});

test('Remove refuses a node in use unless forced; a removed one is gone from lists', async () => {
  await expect(nodes().remove(RemoveNodeRequest.create({ name: 'n1' }))).rejects.toMatchObject({ code: Code.failedPrecondition });
  await nodes().remove(RemoveNodeRequest.create({ name: 'n2' }));
  await nodes().remove(RemoveNodeRequest.create({ name: 'n1', force: true }));
  expect((await nodes().list(ListNodesRequest.create())).nodes).toEqual([]);
  await expect(nodes().get(GetNodeRequest.create({ name: 'n1' }))).rejects.toMatchObject({ code: Code.notFound });
  expect(world.view.nodes.get('n1')?.value).toMatchObject({ removed: true, certificateSerial: '' });
});

test('tokens are shown without their hash and within limits', async () => {
  expect((await nodes().createToken(CreateTokenRequest.create({ description: 'x' }))).record?.secretHash).toHaveLength(0);
  expect((await nodes().listTokens(ListTokensRequest.create())).tokens[0]?.secretHash).toHaveLength(0);
  await expect(nodes().createToken(CreateTokenRequest.create({ uses: 10_001 }))).rejects.toMatchObject({ code: Code.invalidArgument });
});

test('Watch tells of a node whose gateway goes away, and of its removal', async () => {
  const seen: string[] = [];
  for await (const { node, removed, synced } of nodes().watch(WatchNodesRequest.create())) {
    if (synced) void world.commit({ kind: 'delete', key: '/gantry/v1/gateways/g-n1' });
    else seen.push(`${node?.name} ${removed ? 'removed' : Object.keys(NodeState)[node!.state]}`);
    if (seen.at(-1) === 'n1 unknown') void nodes().remove(RemoveNodeRequest.create({ name: 'n1', force: true }));
    if (seen.at(-1) === 'n1 removed') break;
  }
  expect(seen).toEqual(['n1 ready', 'n2 unknown', 'n1 unknown', 'n1 removed']);
});
