import { Code, GantryError } from '@gantry/common';
import {
  type Handlers,
  HistoryResponse,
  ListServicesResponse,
  type Revision,
  RolloutRequestRecord,
  Service,
  ServiceEvent,
  type ServiceKey,
  type ServicesService,
  type ServiceView,
} from '@gantry/proto';
import { isGlobal } from '../cluster/container.ts';
import { type Change, type Entry, revisionId, serviceId } from '../cluster/view.ts';
import type { Identity } from '../security/authn.ts';
import { keys } from '../store/keys.ts';
import { nameOf, namespaceOf, notFound, required, scopeOf } from './access.ts';
import { type AppState, putRevision, putService, revisionOf } from './app-plan.ts';
import { changeOf, removeServices } from './apply.ts';
import { limits, refuse } from './checks.ts';
import { commit } from './commit.ts';
import type { Api, Call } from './context.ts';
import { sameContent } from './diff.ts';
import { emitChanges } from './notify.ts';
import { pageOf } from './paging.ts';
import { claimPorts } from './published-ports.ts';
import { viewService } from './service-view.ts';
import { watchView } from './watch.ts';

interface KeyedRequest {
  readonly requestId: string;
  readonly key: ServiceKey | null;
}

/** Handlers of the service Services. */
export function createServicesApi(api: Api): Handlers<typeof ServicesService, Identity> {
  const { view, guard } = api;
  return {
    get: async ({ key }, { identity }) => viewService(api, find(api, identity, key).value),
    list: async ({ namespace, app, page }, { identity }) => {
      const prefix = prefixOf(scopeOf(identity, namespace), app);
      const ids = [...view.services.keys()].filter((id) => matches(id, prefix, app)).sort();
      const { items, nextToken } = pageOf(ids, page, (id) => id);
      const services = items.flatMap((id) => viewOf(api, id) ?? []);
      return ListServicesResponse.create({ services, nextToken, revision: view.revision });
    },
    watch: (request, { identity, signal }) => guard.watching(identity, watchServices(api, identity, request, signal)),
    scale: (request, call) =>
      mutate(api, call, request, (entry) => {
        const { spec } = entry.value;
        checkScale(spec, request.replicas);
        return { spec: { ...spec!, replicas: request.replicas } };
      }),
    delete: (request, call) => deleteService(api, call, request),
    restart: (request, call) =>
      ask(api, call, request, (before) => ({ restartGeneration: before.restartGeneration + 1 }), 'ServiceRestarted', 'restarted'),
    history: async ({ key, page }, { identity }) => {
      const { value } = find(api, identity, key);
      const newestFirst = view.revisionsOf(serviceId(value.key!)).toReversed();
      const { items, nextToken } = pageOf(newestFirst, page, ({ number }) => String(1e12 - number));
      return HistoryResponse.create({ revisions: items, nextToken, current: value.generation });
    },
    undo: (request, call) => undo(api, call, request),
    pauseRollout: (request, call) => ask(api, call, request, () => ({ paused: true }), 'RolloutPaused', 'paused'),
    resumeRollout: (request, call) => ask(api, call, request, () => ({ paused: false }), 'RolloutResumed', 'resumed'),
  };
}

/** @throws GantryError notFound unless the service exists and is not being removed. */
function find({ view }: Api, identity: Identity, given: ServiceKey | null): Entry<Service> {
  const key = required('key', given);
  const named = { ...key, namespace: namespaceOf(identity, key.namespace) };
  const entry = view.services.get(serviceId(named));
  if (!entry || entry.value.deletedAt > 0) throw notFound('service', `${key.app}/${key.service}`, 'see gantry services');
  return entry;
}

function prefixOf(namespace: string, app: string): string {
  return namespace === '' ? '' : app === '' ? `${namespace}/` : `${namespace}/${app}/`;
}

/** Whether "ns/app/service" is in the namespace (and the app, when one is named). */
function matches(id: string, prefix: string, app: string): boolean {
  return id.startsWith(prefix) && (app === '' || id.split('/')[1] === app);
}

function viewOf(api: Api, id: string): ServiceView | undefined {
  const entry = api.view.services.get(id);
  return entry && viewService(api, entry.value);
}

function watchServices(
  api: Api,
  identity: Identity,
  request: { namespace: string; app: string; fromRevision: number },
  signal: AbortSignal,
): AsyncIterable<ServiceEvent> {
  const { view, changes } = api;
  const prefix = prefixOf(scopeOf(identity, request.namespace), request.app);
  const isWatched = (id: string) => matches(id, prefix, request.app);
  return watchView({
    view,
    changes,
    signal,
    fromRevision: request.fromRevision,
    ids: () => [...view.services.keys()].filter(isWatched),
    affected: (change) => servicesOf(api, change).filter(isWatched),
    message: (id, revision) => {
      const service = viewOf(api, id);
      return service && ServiceEvent.create({ service, revision });
    },
    removed: (id, revision) => {
      const [namespace, app, service] = id.split('/') as [string, string, string];
      const gone = Service.create({ key: { namespace, app, service } });
      return ServiceEvent.create({ service: { ...viewService(api, gone) }, removed: true, revision });
    },
    synced: (revision) => ServiceEvent.create({ synced: true, revision }),
  });
}

/** Services whose views a change may alter. */
function servicesOf({ view }: Api, change: Change): string[] {
  switch (change.collection) {
    case 'services':
    case 'rollouts':
    case 'scales':
    case 'refusals':
      return [change.id];
    case 'assignments': {
      const key = (change.value ?? change.previous)?.key;
      return key ? [serviceId(key)] : [];
    }
    case 'statuses': {
      const key = view.assignments.get(change.id)?.value.key;
      return key ? [serviceId(key)] : [];
    }
    case 'machines':
      if (change.value?.lostAt === change.previous?.lostAt) return [];
      return [...view.assignmentsOn(change.id).values()].flatMap(({ value }) => (value.key ? [serviceId(value.key)] : []));
    default:
      return [];
  }
}

/** Changes a service's record by the user's word, once for each idempotency key. */
async function mutate(
  api: Api,
  { identity, path }: Call,
  { requestId, key }: KeyedRequest,
  next: (entry: Entry<Service>) => Partial<Service>,
): Promise<ServiceView> {
  return api.guard.once(identity, path, requestId, async () => {
    const change = changeOf(api, nameOf(identity), requestId);
    const { result } = await commit(api, `${key?.app}/${key?.service}`, () => {
      const entry = find(api, identity, key);
      const fields = entry.value.requestId === change.requestId ? undefined : next(entry);
      if (!fields) return { result: undefined };
      const after: Service = { ...entry.value, ...fields, updatedAt: change.nowUs, updatedBy: change.by, requestId: change.requestId };
      const transaction = {
        compare: [{ kind: 'modRevision', key: entry.key, equals: entry.modRevision } as const],
        writes: [putService(after)],
      };
      return { transaction, result: { before: entry.value, after } };
    });
    if (result) {
      const { namespace = '', app = '', service = '' } = result.after.key ?? {};
      const message = `service ${app}/${service} scaled from ${result.before.spec?.replicas} to ${result.after.spec?.replicas} by ${change.by}`;
      api.emit({ type: 'ServiceScaled', namespace, app, service, subject: `service/${service}`, message });
    }
    return viewService(api, find(api, identity, key).value);
  });
}

function checkScale(spec: Service['spec'], replicas: number): void {
  if (!Number.isSafeInteger(replicas) || replicas < 0 || replicas > limits.replicas)
    refuse('replicas', `from 0 to ${limits.replicas}`, replicas);
  if (spec && isGlobal(spec.mode)) {
    throw new GantryError(Code.failedPrecondition, `cannot scale "${spec.name}": it runs once on each node`, {
      details: { hint: 'change its placement to choose the nodes' },
    });
  }
  if (spec?.autoscale) {
    throw new GantryError(
      Code.failedPrecondition,
      `cannot scale "${spec.name}": the autoscaler sets it between ${spec.autoscale.min} and ${spec.autoscale.max}`,
      {
        details: { hint: 'change min and max of its autoscale, or remove it' },
      },
    );
  }
}

async function deleteService(api: Api, { identity, path }: Call, { requestId, key: given }: KeyedRequest): Promise<ServiceView> {
  return api.guard.once(identity, path, requestId, async () => {
    const { value } = find(api, identity, given);
    const { namespace, app, service } = value.key!;
    const change = changeOf(api, nameOf(identity), requestId);
    const admit = ({ services }: AppState) => {
      if (!services.has(service)) throw notFound('service', `${app}/${service}`);
    };
    const { plan } = await removeServices(api, namespace, app, { change, admit, service });
    emitChanges(api, plan.steps, change.by);
    return viewService(api, api.view.services.get(serviceId(value.key!))?.value ?? plan.steps[0]?.after ?? value);
  });
}

/** Puts a wish on the service's rollout that the orchestrator acts on. */
async function ask(
  api: Api,
  { identity, path }: Call,
  { requestId, key: given }: KeyedRequest,
  next: (before: RolloutRequestRecord) => Partial<RolloutRequestRecord>,
  type: string,
  what: string,
): Promise<ServiceView> {
  return api.guard.once(identity, path, requestId, async () => {
    const change = changeOf(api, nameOf(identity), requestId);
    const { value } = find(api, identity, given);
    const { namespace, app, service } = value.key!;
    await commit(api, `${app}/${service}`, () => {
      const id = serviceId(value.key!);
      const entry = api.view.rolloutRequests.get(id);
      const before = entry?.value ?? RolloutRequestRecord.create();
      if (before.requestId === change.requestId) return { result: undefined };
      const { nowUs: requestedAt, by: requestedBy, requestId } = change;
      const after = { ...before, ...next(before), requestedAt, requestedBy, requestId };
      const record = keys.rolloutRequest(value.key!);
      const owner = find(api, identity, given);
      const compare = [
        { kind: 'modRevision', key: record, equals: entry?.modRevision ?? 0 } as const,
        { kind: 'createRevision', key: owner.key, equals: owner.createRevision } as const,
      ];
      return {
        transaction: { compare, writes: [{ kind: 'put', key: record, value: RolloutRequestRecord.encode(after) }] },
        result: undefined,
      };
    });
    api.emit({
      type,
      namespace,
      app,
      service,
      subject: `service/${service}`,
      message: `service ${app}/${service} ${what} by ${change.by}`,
    });
    return viewService(api, find(api, identity, given).value);
  });
}

/** Makes an earlier revision's spec the current one; how many run stays as it is now. */
async function undo(api: Api, { identity, path }: Call, request: KeyedRequest & { toRevision: number }): Promise<ServiceView> {
  return api.guard.once(identity, path, request.requestId, async () => {
    const change = changeOf(api, nameOf(identity), request.requestId);
    await commit(api, `${request.key?.app}/${request.key?.service}`, async () => {
      const entry = find(api, identity, request.key);
      const service = entry.value;
      if (service.requestId === change.requestId) return { result: undefined };
      const target = earlier(api, service, request.toRevision);
      const spec = { ...target.spec!, replicas: service.spec?.replicas ?? target.spec!.replicas };
      const stamp = { updatedAt: change.nowUs, updatedBy: change.by, requestId: change.requestId };
      const after: Service = { ...service, spec, generation: service.generation + 1, ...stamp };
      const claims = await claimPorts(api, [{ before: service, after }]);
      const compare = [{ kind: 'modRevision', key: entry.key, equals: entry.modRevision } as const, ...claims.compare];
      return {
        transaction: { compare, writes: [...claims.writes, putService(after), putRevision(revisionOf(after, target.fileDigests, change))] },
        result: undefined,
      };
    });
    const { value } = find(api, identity, request.key);
    const { namespace = '', app = '', service = '' } = value.key ?? {};
    const message = `service ${app}/${service} brought back to an earlier revision as ${value.generation} by ${change.by}`;
    api.emit({ type: 'ServiceUndone', namespace, app, service, subject: `service/${service}`, message });
    return viewService(api, value);
  });
}

/** The revision asked for; 0: the newest one that is not like the current. */
function earlier({ view }: Api, service: Service, number: number): Revision {
  const id = serviceId(service.key!);
  const current = view.revisions.get(revisionId(service.key!, service.generation))?.value;
  const found =
    number === 0
      ? view.revisionsOf(id).findLast((one) => one.number < service.generation && !(current && sameContent(one, current)))
      : view.revisions.get(revisionId(service.key!, number))?.value;
  if (found?.spec) return found;
  const kept = view.revisionsOf(id).map((one) => one.number);
  throw new GantryError(
    Code.notFound,
    `cannot undo "${service.key?.app}/${service.key?.service}": there must be ${number === 0 ? 'an earlier revision' : `a revision ${number}`}, found ${kept.join(', ') || 'none'}`,
    {
      details: { hint: 'see gantry rollout history' },
    },
  );
}
