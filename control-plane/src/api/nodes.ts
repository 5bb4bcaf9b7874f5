import { Code, GantryError } from '@gantry/common';
import {
  CreateTokenResponse,
  type Handlers,
  ListNodesResponse,
  ListTokensResponse,
  Node,
  NodeEvent,
  NodeSettings,
  NodeSettingsAvailability,
  NodeState,
  type NodesService,
  Resources,
  RevokeTokenResponse,
  type Taint,
  TaintEffect,
  type UpdateNodeRequest,
} from '@gantry/proto';
import { isOver } from '../cluster/container.ts';
import type { Change } from '../cluster/view.ts';
import type { Identity } from '../security/authn.ts';
import { keys } from '../store/keys.ts';
import { nameOf, notFound } from './access.ts';
import { changeOf } from './apply.ts';
import { limits, refuse, requireMap, requirePlain, requireText } from './checks.ts';
import { commit } from './commit.ts';
import type { Api, Call } from './context.ts';
import { pageOf } from './paging.ts';
import { watchView } from './watch.ts';

const maxTokenUses = 10_000;
const maxTokenTtlUs = 30 * 86_400e6;
const dayUs = 86_400e6;

/** Handlers of the service Nodes. */
export function createNodesApi(api: Api): Handlers<typeof NodesService, Identity> {
  const { view, guard } = api;
  return {
    list: async ({ page }) => {
      const { items, nextToken } = pageOf(nodeNames(api), page, (name) => name);
      return ListNodesResponse.create({ nodes: items.flatMap((name) => viewNode(api, name) ?? []), nextToken, revision: view.revision });
    },
    get: async ({ name }) => requireNode(api, name),
    watch: ({ fromRevision }, { identity, signal }) => guard.watching(identity, watchNodes(api, fromRevision, signal)),
    update: (request, call) => update(api, call, request),
    drain: (request, { identity, path }) =>
      guard.once(identity, path, request.requestId, async () => {
        requireNode(api, request.name);
        requirePlain('', request);
        if (request.deadlineUs > dayUs) refuse('deadlineUs', `at most ${dayUs}`, request.deadlineUs);
        const parameters = request.deadlineUs > 0 ? { deadlineUs: String(request.deadlineUs) } : {};
        const { requestId, name } = request;
        return api.operations.submit({ requestId, kind: 'drain', subject: `node/${name}`, parameters, createdBy: nameOf(identity) });
      }),
    remove: (request, call) => remove(api, call, request),
    createToken: ({ requestId, ttlUs, uses, description }, { identity, path }) =>
      guard.once(identity, path, requestId, async () => {
        requirePlain('', { ttlUs, uses, description });
        requireText('description', description, 256);
        if (ttlUs > maxTokenTtlUs) refuse('ttlUs', `at most ${maxTokenTtlUs}`, ttlUs);
        if (uses > maxTokenUses) refuse('uses', `at most ${maxTokenUses}`, uses);
        const made = await api.tokens.create({ ...(ttlUs > 0 && { ttlUs }), ...(uses > 0 && { uses }), description });
        return CreateTokenResponse.create({ token: made.token, record: { ...made.record, secretHash: new Uint8Array() } });
      }),
    listTokens: async ({ page }) => {
      const all = (await api.tokens.list()).toSorted((a, b) => (a.id < b.id ? -1 : 1));
      const { items, nextToken } = pageOf(all, page, ({ id }) => id);
      return ListTokensResponse.create({ tokens: items.map((token) => ({ ...token, secretHash: new Uint8Array() })), nextToken });
    },
    revokeToken: ({ requestId, id }, { identity, path }) =>
      guard.once(identity, path, requestId, async () => {
        await api.tokens.revoke(id);
        return RevokeTokenResponse.create();
      }),
  };
}

/** Nodes that have enrolled and were not removed, by name. */
function nodeNames({ view }: Api): string[] {
  return [...view.nodes]
    .filter(([, { value }]) => !value.removed)
    .map(([name]) => name)
    .sort();
}

function viewNode({ view, usage }: Api, name: string): Node | undefined {
  const settings = view.nodes.get(name)?.value;
  if (!settings || settings.removed) return undefined;
  const records = [...view.assignmentsOn(name).keys()].flatMap((id) => view.container(id) ?? []);
  const living = records.filter(({ status }) => !isOver(status));
  const reserved = Resources.create();
  for (const { assignment } of living) {
    for (const field of Object.keys(reserved) as (keyof Resources)[]) reserved[field] += assignment.reservation?.[field] ?? 0;
  }
  return Node.create({
    name,
    state: view.nodeState(name),
    settings: { ...settings, certificateSerial: '' },
    machine: view.machines.get(name)?.value ?? null,
    reserved,
    usage: usage.node(name) ?? null,
    containers: living.length,
  });
}

function requireNode(api: Api, name: string): Node {
  const node = viewNode(api, name);
  if (!node) throw notFound('node', name, 'see gantry node ls');
  return node;
}

function watchNodes(api: Api, fromRevision: number, signal: AbortSignal): AsyncIterable<NodeEvent> {
  const { view, changes } = api;
  return watchView({
    view,
    changes,
    signal,
    fromRevision,
    ids: () => nodeNames(api),
    affected: (change) => nodesOf(api, change),
    message: (name, revision) => {
      const node = viewNode(api, name);
      return node && NodeEvent.create({ node, revision });
    },
    removed: (name, revision) => NodeEvent.create({ node: Node.create({ name }), removed: true, revision }),
    synced: (revision) => NodeEvent.create({ synced: true, revision }),
  });
}

function nodesOf({ view }: Api, change: Change): string[] {
  switch (change.collection) {
    case 'nodes':
    case 'machines':
      return [change.id];
    case 'assignments':
      return [change.value?.node, change.previous?.node].filter((node) => node !== undefined);
    case 'gateways':
      return [...view.machines].filter(([, { value }]) => value.gateway === change.id).map(([name]) => name);
    default:
      return [];
  }
}

/** Changes what operators say of a node. */
async function change(api: Api, name: string, requestId: string, next: (before: NodeSettings) => NodeSettings): Promise<void> {
  await commit(api, `node/${name}`, () => {
    requireNode(api, name);
    const entry = api.view.nodes.get(name)!;
    const after = next(entry.value);
    if (Buffer.from(NodeSettings.encode(after)).equals(NodeSettings.encode(entry.value))) return { result: requestId };
    const compare = [{ kind: 'modRevision', key: entry.key, equals: entry.modRevision } as const];
    return {
      transaction: { compare, writes: [{ kind: 'put', key: keys.node(name), value: NodeSettings.encode(after) }] },
      result: requestId,
    };
  });
}

async function update(api: Api, { identity, path }: Call, request: UpdateNodeRequest): Promise<Node> {
  requirePlain('', request);
  requireMap('setLabels', request.setLabels, limits.labels, limits.labelBytes);
  for (const taint of request.setTaints) checkTaint(taint);
  if (!Object.values<number>(NodeSettingsAvailability).includes(request.availability))
    refuse('availability', 'active, cordoned or draining', request.availability);
  return api.guard.once(identity, path, request.requestId, async () => {
    const { by } = changeOf(api, nameOf(identity), request.requestId);
    await change(api, request.name, request.requestId, (before) => settled(before, request));
    const node = requireNode(api, request.name);
    api.emit({
      type: 'NodeUpdated',
      node: request.name,
      subject: `node/${request.name}`,
      message: `node ${request.name} changed by ${by}`,
    });
    return node;
  });
}

function checkTaint({ key, value, effect }: Taint): void {
  requireText('setTaints', key + value, 256);
  if (!/^[a-zA-Z0-9][-_./a-zA-Z0-9]*$/.test(key)) refuse('setTaints', 'named by letters, digits, "-", "_", "." and "/"', key);
  if (!Object.values<number>(TaintEffect).includes(effect)) refuse('setTaints', 'with a known effect', effect);
}

/** The settings after a request. */
function settled(before: NodeSettings, request: UpdateNodeRequest): NodeSettings {
  const removed = new Set(request.removeLabels);
  const labels = Object.fromEntries(Object.entries({ ...before.labels, ...request.setLabels }).filter(([key]) => !removed.has(key)));
  requireMap('labels', labels, limits.labels, limits.labelBytes);
  const replaced = new Set([...request.removeTaints, ...request.setTaints.map(({ key }) => key)]);
  const taints = [...before.taints.filter(({ key }) => !replaced.has(key)), ...request.setTaints];
  if (taints.length > limits.listItems) refuse('taints', `at most ${limits.listItems}`, taints.length);
  return { ...before, labels, taints, availability: request.setAvailability ? request.availability : before.availability };
}

/** Takes a node out of the cluster: its certificate is refused from then on. */
async function remove(
  api: Api,
  { identity, path }: Call,
  { requestId, name, force }: { requestId: string; name: string; force: boolean },
): Promise<Node> {
  return api.guard.once(identity, path, requestId, async () => {
    const node = requireNode(api, name);
    if (!force && (node.containers > 0 || node.state === NodeState.ready)) {
      const found = node.containers > 0 ? `${node.containers} containers on it` : 'its agent connected';
      throw new GantryError(Code.failedPrecondition, `cannot remove node "${name}": it must be empty and stopped, found ${found}`, {
        details: { subject: `node/${name}`, hint: 'drain it and stop its agent first, or force' },
      });
    }
    const { by } = changeOf(api, nameOf(identity), requestId);
    await change(api, name, requestId, (before) => ({ ...before, removed: true, certificateSerial: '' }));
    api.emit({ type: 'NodeRemoved', node: name, subject: `node/${name}`, message: `node ${name} removed by ${by}` });
    return node;
  });
}
