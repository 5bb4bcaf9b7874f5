import {
  Assignment,
  AssignmentDesired,
  Container,
  ContainerEvent,
  type ContainersService,
  type Handlers,
  ListContainersResponse,
} from '@gantry/proto';
import { containerName, drainUsOf } from '../cluster/container.ts';
import { type Change, serviceId } from '../cluster/view.ts';
import type { Identity } from '../security/authn.ts';
import { nameOf, namespaceOf, scopeOf } from './access.ts';
import { changeOf } from './apply.ts';
import { commit } from './commit.ts';
import type { Api, Call } from './context.ts';
import { pageOf } from './paging.ts';
import { resolveContainer } from './resolve.ts';
import { pendingAt, pendingOf, viewContainer } from './service-view.ts';
import { watchView } from './watch.ts';
import { why } from './why.ts';

/** What a list or watch is narrowed to; empty fields match everything. */
interface Filter {
  readonly namespace: string;
  readonly app: string;
  readonly service: string;
  readonly node: string;
}

/** Handlers of the service Containers. */
export function createContainersApi(api: Api): Handlers<typeof ContainersService, Identity> {
  const { view, guard } = api;
  return {
    list: async (request, { identity }) => {
      const filter = { ...request, namespace: scopeOf(identity, request.namespace) };
      const found = serviceIds(api, filter).flatMap((id) => containersOf(api, id, filter));
      const shown = found
        .filter((container) => request.all || !container.final)
        .map((container) => [sortKey(container), container] as const);
      shown.sort(([a], [b]) => (a < b ? -1 : 1));
      const { items, nextToken } = pageOf(shown, request.page, ([key]) => key);
      return ListContainersResponse.create({ containers: items.map(([, container]) => container), nextToken, revision: view.revision });
    },
    watch: (request, { identity, signal }) => {
      const filter = { ...request, node: '', namespace: scopeOf(identity, request.namespace) };
      return guard.watching(identity, watchContainers(api, filter, request.fromRevision, signal));
    },
    get: async ({ namespace, container }, { identity }) =>
      viewContainer(api, resolveContainer(view, namespaceOf(identity, namespace), container)),
    why: async ({ namespace, target }, { identity }) => why(api, namespaceOf(identity, namespace), target),
    stop: (request, call) => stop(api, call, request),
  };
}

/** By app, service, slot, and then the older one first. */
function sortKey(container: Container): string {
  const { namespace, app, service, slot, node, createdAt, id } = container;
  return [namespace, app, service, String(slot).padStart(6, '0'), slot === 0 ? node : '', String(createdAt).padStart(17, '0'), id].join(
    '/',
  );
}

function isWatched(filter: Filter, id: string): boolean {
  const [namespace, app, service] = id.split('/');
  const fits = (wanted: string, found: string | undefined) => wanted === '' || wanted === found;
  return fits(filter.namespace, namespace) && fits(filter.app, app) && fits(filter.service, service);
}

function serviceIds({ view }: Api, filter: Filter): string[] {
  return [...view.services.keys()].filter((id) => isWatched(filter, id));
}

/** Containers of a service that the filter lets through, those that wait for a place among them. */
function containersOf(api: Api, id: string, { node }: Filter): Container[] {
  const placed = api.view
    .containersOf(id)
    .filter(({ assignment }) => node === '' || assignment.node === node)
    .map((record) => viewContainer(api, record));
  const service = api.view.services.get(id)?.value;
  return service && node === '' ? [...placed, ...pendingOf(api, service)] : placed;
}

function watchContainers(api: Api, filter: Filter, fromRevision: number, signal: AbortSignal): AsyncIterable<ContainerEvent> {
  const { view, changes } = api;
  return watchView({
    view,
    changes,
    signal,
    fromRevision,
    ids: () => serviceIds(api, filter).flatMap((id) => containersOf(api, id, filter).map((container) => watchId(id, container))),
    affected: (change) => affectedBy(api, change).filter((id) => isWatched(filter, serviceOf(id))),
    message: (id, revision) => {
      const container = current(api, id);
      return container && ContainerEvent.create({ container, revision });
    },
    removed: (id, revision) => ContainerEvent.create({ container: lastKnown(id), removed: true, revision }),
    synced: (revision) => ContainerEvent.create({ synced: true, revision }),
  });
}

/** "ns/app/service#id" of a container, "ns/app/service.slot" of one that waits for a place. */
function watchId(service: string, { id, slot }: Container): string {
  return id === '' ? `${service}.${slot}` : `${service}#${id}`;
}

function serviceOf(id: string): string {
  return id.split(/[#.]/, 1)[0]!;
}

function current(api: Api, id: string): Container | undefined {
  const [service, container] = id.split('#') as [string, string | undefined];
  if (container !== undefined) {
    const record = api.view.container(container);
    return record && viewContainer(api, record);
  }
  const slot = Number(service.slice(service.lastIndexOf('.') + 1));
  const owner = api.view.services.get(serviceOf(id))?.value;
  return owner && pendingAt(api, owner, slot);
}

/** What a removal tells of a container: which one it was. */
function lastKnown(id: string): Container {
  const [namespace, app, service] = serviceOf(id).split('/') as [string, string, string];
  const at = id.indexOf('#');
  const name = at < 0 ? id.slice(namespace.length + 1) : '';
  return Container.create({ id: at < 0 ? '' : id.slice(at + 1), name, namespace, app, service });
}

/** Ids that a change may concern: the container itself, and the slots of its service that wait for a place. */
function affectedBy(api: Api, change: Change): string[] {
  const { view } = api;
  switch (change.collection) {
    case 'assignments': {
      const assignment = change.value ?? change.previous;
      if (!assignment?.key) return [];
      const service = serviceId(assignment.key);
      return [`${service}#${change.id}`, ...(assignment.slot > 0 ? [`${service}.${assignment.slot}`] : [])];
    }
    case 'statuses': {
      const key = view.assignments.get(change.id)?.value.key;
      return key ? [`${serviceId(key)}#${change.id}`] : [];
    }
    case 'machines':
      if (change.value?.lostAt === change.previous?.lostAt) return [];
      return [...view.assignmentsOn(change.id).values()].flatMap(({ value }) => (value.key ? [`${serviceId(value.key)}#${value.id}`] : []));
    case 'services':
    case 'scales':
    case 'refusals':
      return slotsOf(api, change.id, change);
    default:
      return [];
  }
}

/** All slots that a service has or had: any of them may begin or cease to wait. */
function slotsOf({ view }: Api, id: string, change: Change): string[] {
  const specs = [change.value, change.previous, view.services.get(id)?.value].map((value) =>
    value && 'spec' in value ? value.spec : undefined,
  );
  const scales = [change.value, change.previous].map((value) =>
    change.collection === 'scales' && value && 'replicas' in value ? value.replicas : 0,
  );
  const most = Math.max(
    ...specs.map((spec) => (spec && 'replicas' in spec ? spec.replicas : 0)),
    ...scales,
    view.scales.get(id)?.value.replicas ?? 0,
  );
  return Array.from({ length: most }, (_, index) => `${id}.${index + 1}`);
}

/** Tells the planner to stop a container; its service then places another one. */
async function stop(
  api: Api,
  { identity, path }: Call,
  request: { requestId: string; namespace: string; container: string },
): Promise<Container> {
  const { view, guard } = api;
  const namespace = namespaceOf(identity, request.namespace);
  return guard.once(identity, path, request.requestId, async () => {
    const { by } = changeOf(api, nameOf(identity), request.requestId);
    const { id } = resolveContainer(view, namespace, request.container).assignment;
    await commit(api, request.container, () => {
      resolveContainer(view, namespace, id);
      const entry = view.assignments.get(id)!;
      if (entry.value.desired === AssignmentDesired.stop) return { result: undefined };
      const drainUs = entry.value.spec ? drainUsOf(entry.value.spec) : 0;
      const after: Assignment = { ...entry.value, desired: AssignmentDesired.stop, reason: `stopped by ${by}`, drainUs };
      const compare = [{ kind: 'modRevision', key: entry.key, equals: entry.modRevision } as const];
      return { transaction: { compare, writes: [{ kind: 'put', key: entry.key, value: Assignment.encode(after) }] }, result: undefined };
    });
    const record = resolveContainer(view, namespace, id);
    const { key, node } = record.assignment;
    const message = `container ${containerName(record.assignment)} (${id}) stopped by ${by}`;
    api.emit({
      type: 'ContainerStopped',
      namespace,
      app: key?.app ?? '',
      service: key?.service ?? '',
      node,
      subject: `container/${id}`,
      message,
    });
    return viewContainer(api, record);
  });
}
