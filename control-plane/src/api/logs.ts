import { Code, GantryError } from '@gantry/common';
import { type Handlers, LogCommand, LogEntry, type LogsService, NodeState, type ReadLogsRequest } from '@gantry/proto';
import { type ContainerRecord, containerName } from '../cluster/container.ts';
import { serviceId } from '../cluster/view.ts';
import type { Identity } from '../security/authn.ts';
import { namespaceOf } from './access.ts';
import { requirePlain } from './checks.ts';
import type { Api } from './context.ts';
import { Merge } from './merge.ts';
import { resolveTarget } from './resolve.ts';

/** Containers whose logs one call reads. */
const mostContainers = 200;
/** How long a line waits, while following, for older ones of other containers. */
const patienceMs = 200;

/** Handlers of the service Logs. */
export function createLogsApi(api: Api): Handlers<typeof LogsService, Identity> {
  return {
    read: (request, { identity, signal }) => {
      requirePlain('', request);
      const namespace = namespaceOf(identity, request.namespace);
      return api.guard.watching(identity, readLogs(api, namespace, request, signal));
    },
  };
}

/** The logs of all containers that a target names, merged in time order; followed, also of those that come. */
async function* readLogs(api: Api, namespace: string, request: ReadLogsRequest, signal: AbortSignal): AsyncGenerator<LogEntry, void, void> {
  const target = resolveTarget(api.view, namespace, request.target);
  const services = () => {
    if (target.kind === 'container') return [];
    return target.kind === 'service' ? [serviceId(target.service.key!)] : [...api.view.servicesOf(target.id).keys()];
  };
  const first = target.kind === 'container' ? [target.record] : services().flatMap((id) => api.view.containersOf(id));
  if (first.length > mostContainers) {
    throw new GantryError(
      Code.resourceExhausted,
      `cannot read logs of "${request.target}": at most ${mostContainers} containers at once, found ${first.length}`,
      {
        details: { hint: 'name a service or a container of it' },
      },
    );
  }
  const ended = new AbortController();
  const all = AbortSignal.any([signal, ended.signal]);
  let open = 0;
  const names = new Map<string, ContainerRecord>();
  const merge = new Merge<LogEntry>({
    clock: api.clock,
    signal,
    timeOf: ({ at }) => at,
    ...(request.follow && { patienceMs }),
    onFailure: (id, error) => failure(api, names.get(id)!, error),
  });
  const add = (record: ContainerRecord) => {
    const { id } = record.assignment;
    if (names.has(id) || open >= mostContainers) return;
    names.set(id, record);
    open++;
    merge.add({ name: id, items: counted(readOne(api, record, request, all), () => open--) });
  };
  for (const record of first) add(record);
  const follows = request.follow && target.kind !== 'container';
  const stop = follows
    ? api.view.onChange((changes) => {
        if (!changes.some(({ collection }) => collection === 'assignments')) return;
        for (const record of services().flatMap((id) => api.view.containersOf(id))) add(record);
      })
    : () => {};
  if (!follows) merge.close();
  try {
    yield* merge;
  } finally {
    stop();
    ended.abort();
  }
}

async function* counted<T>(items: AsyncIterable<T>, ended: () => void): AsyncGenerator<T, void, void> {
  try {
    yield* items;
  } finally {
    ended();
  }
}

async function* readOne(
  api: Api,
  record: ContainerRecord,
  request: ReadLogsRequest,
  signal: AbortSignal,
): AsyncGenerator<LogEntry, void, void> {
  const { id: containerId, node } = record.assignment;
  const { follow, since, until, tail } = request;
  if (api.view.nodeState(node) !== NodeState.ready) {
    throw new GantryError(
      Code.unavailable,
      `cannot read the log of "${containerName(record.assignment)}": node "${node}" must be connected`,
    );
  }
  const command = LogCommand.create({ containerId, follow, since, until, tail });
  for await (const entry of api.streams.logs(node, command, signal)) {
    yield { ...entry, containerId, container: containerName(record.assignment), node };
  }
}

/** A line that says why a container's log ends here. */
function failure({ clock }: Api, { assignment }: ContainerRecord, thrown: unknown): LogEntry {
  const { message } = GantryError.from(thrown);
  const { id, node } = assignment;
  return LogEntry.create({
    at: clock.nowUs(),
    line: Buffer.from(message),
    containerId: id,
    container: containerName(assignment),
    node,
    error: true,
  });
}
