import { formatBytes, formatCpu, formatDuration, formatRate } from '@gantry/common';
import {
  type Container,
  Container as ContainerMessage,
  type Event,
  EventSeverity,
  ListContainersRequest,
  ListContainersResponse,
  ListEventsRequest,
  ListEventsResponse,
  ListNodesRequest,
  ListNodesResponse,
  ListServicesRequest,
  ListServicesResponse,
  type Node,
  NodeSettingsAvailability,
  NodeState,
  PortProtocol,
  RolloutState,
  ServiceSpecMode,
  type ServiceView,
  WatchEventsRequest,
} from '@gantry/proto';
import { allPages, type GantryClient } from '../../gantry-client.ts';
import type { Format } from '../format.ts';
import { print, write } from '../output.ts';
import { coloured, nameOf, plain, stateText, style } from '../style.ts';
import type { Column } from '../table.ts';
import { keyText, resolveTarget, type Target } from '../target.ts';

const nowUs = (): number => Date.now() * 1000;
const age = (at: number): string => (at === 0 ? '-' : formatDuration(nowUs() - at));
const none: Target = { app: '', service: '', container: '' };

/** All containers of a target; of everything without one. */
export async function fetchContainers(client: GantryClient, target: Target = none, all = false): Promise<Container[]> {
  const containers = await allPages(async (page) => {
    const { app, service } = target;
    const answer = await client.containers.list(ListContainersRequest.create({ namespace: client.namespace, app, service, all, page }));
    return { items: answer.containers, nextToken: answer.nextToken };
  });
  return target.container === ''
    ? containers
    : containers.filter((one) => one.id.startsWith(target.container) || one.name === target.container);
}

function portsText(container: Container): string {
  return container.ports
    .map((port) => `${port.published ? `${port.published}->` : ''}${port.target}/${nameOf(PortProtocol, port.protocol)}`)
    .join(' ');
}

function reasonText(container: Container): string {
  if (container.refusal) return container.refusal.message;
  return plain(container.reason || (container.restarts > 0 ? container.lastReason : ''));
}

const containerColumns: readonly Column<Container>[] = [
  { header: 'NAME', value: (one) => one.name },
  { header: 'ID', value: (one) => one.id.slice(0, 12) || '-' },
  { header: 'NODE', value: (one) => one.node || '-' },
  { header: 'STATE', value: (one) => stateText(one.state, one.health) },
  { header: 'RESTARTS', value: (one) => String(one.restarts), right: true },
  { header: 'AGE', value: (one) => age(one.startedAt || one.createdAt), right: true },
  { header: 'REV', value: (one) => String(one.revision), right: true, wide: true },
  { header: 'ADDRESS', value: (one) => one.address || '-', wide: true },
  { header: 'IMAGE', value: (one) => one.image, wide: true },
  { header: 'PORTS', value: portsText },
  { header: 'REASON', value: reasonText },
];

/** gantry ps */
export async function ps(client: GantryClient, text: string | undefined, format: Format, all: boolean): Promise<void> {
  const target = text === undefined ? none : await resolveTarget(client, text);
  const rows = await fetchContainers(client, target, all);
  await print(format, {
    rows,
    columns: containerColumns,
    name: (one) => one.name,
    json: () => ListContainersResponse.toJson(ListContainersResponse.create({ containers: rows })),
    empty: 'No containers.',
  });
}

const serviceColumns: readonly Column<ServiceView>[] = [
  { header: 'SERVICE', value: (view) => keyText(view.service?.key) },
  { header: 'MODE', value: (view) => nameOf(ServiceSpecMode, view.service?.spec?.mode ?? 0).replace('_', '-') },
  { header: 'READY', value: (view) => `${view.ready}/${view.desired}`, right: true },
  { header: 'REV', value: (view) => String(view.service?.generation ?? 0), right: true },
  { header: 'ROLLOUT', value: (view) => (view.rollout ? nameOf(RolloutState, view.rollout.state).replace('_', ' ') : '-') },
  { header: 'CPU', value: (view) => formatCpu(view.usage?.cpuMillis ?? 0), right: true, wide: true },
  { header: 'MEMORY', value: (view) => formatBytes(view.usage?.memoryBytes ?? 0), right: true, wide: true },
  { header: 'IMAGE', value: (view) => view.service?.spec?.container?.image ?? '' },
  { header: 'NOTE', value: (view) => view.refusal?.message ?? plain(view.rollout?.reason ?? '') },
];

/** gantry services */
export async function services(client: GantryClient, format: Format): Promise<void> {
  const rows = await fetchServices(client);
  await print(format, {
    rows,
    columns: serviceColumns,
    name: (view) => keyText(view.service?.key),
    json: () => ListServicesResponse.toJson(ListServicesResponse.create({ services: rows })),
    empty: 'No services. gantry apply -f compose.yaml makes some.',
  });
}

export function fetchServices(client: GantryClient, app = ''): Promise<ServiceView[]> {
  return allPages(async (page) => {
    const answer = await client.services.list(ListServicesRequest.create({ namespace: client.namespace, app, page }));
    return { items: answer.services, nextToken: answer.nextToken };
  });
}

function nodeState(node: Node): string {
  const state = coloured(nameOf(NodeState, node.state));
  const availability = node.settings?.availability ?? NodeSettingsAvailability.active;
  return availability === NodeSettingsAvailability.active
    ? state
    : `${state}, ${style.yellow(nameOf(NodeSettingsAvailability, availability))}`;
}

const share = (part: number, whole: number): string => (whole > 0 ? `${Math.round((100 * part) / whole)}%` : '-');

function nodeLabels(node: Node): string {
  return Object.entries({ ...node.machine?.labels, ...node.settings?.labels })
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
}

const nodeColumns: readonly Column<Node>[] = [
  { header: 'NODE', value: (node) => node.name },
  { header: 'STATE', value: nodeState },
  { header: 'CONTAINERS', value: (node) => String(node.containers), right: true },
  {
    header: 'CPU',
    value: (node) => `${formatCpu(node.reserved?.cpuMillis ?? 0)}/${formatCpu(node.machine?.capacity?.cpuMillis ?? 0)}`,
    right: true,
  },
  {
    header: 'MEMORY',
    value: (node) => `${formatBytes(node.reserved?.memoryBytes ?? 0)}/${formatBytes(node.machine?.capacity?.memoryBytes ?? 0)}`,
    right: true,
  },
  {
    header: 'IO',
    value: (node) => `${formatRate(node.reserved?.ioBytesPerSecond ?? 0)}/${formatRate(node.machine?.capacity?.ioBytesPerSecond ?? 0)}`,
    right: true,
  },
  {
    header: 'NETWORK',
    value: (node) =>
      `${formatRate(node.reserved?.networkBytesPerSecond ?? 0)}/${formatRate(node.machine?.capacity?.networkBytesPerSecond ?? 0)}`,
    right: true,
  },
  { header: 'ADDRESS', value: (node) => node.machine?.address ?? '' },
  { header: 'VERSION', value: (node) => node.machine?.agentVersion ?? '', wide: true },
  { header: 'KERNEL', value: (node) => node.machine?.kernel ?? '', wide: true },
  { header: 'SUBNET', value: (node) => node.machine?.subnet ?? '', wide: true },
  { header: 'LABELS', value: nodeLabels },
];

export function fetchNodes(client: GantryClient): Promise<Node[]> {
  return allPages(async (page) => {
    const answer = await client.nodes.list(ListNodesRequest.create({ page }));
    return { items: answer.nodes, nextToken: answer.nextToken };
  });
}

/** gantry nodes */
export async function nodes(client: GantryClient, format: Format): Promise<void> {
  const rows = await fetchNodes(client);
  await print(format, {
    rows,
    columns: nodeColumns,
    name: (node) => node.name,
    json: () => ListNodesResponse.toJson(ListNodesResponse.create({ nodes: rows })),
    empty: 'No nodes. gantry token create prints how one joins.',
  });
}

type Used = Pick<Container, 'usage'>;
const usageColumns: readonly Column<Used>[] = [
  { header: 'CPU', value: ({ usage }) => formatCpu(usage?.cpuMillis ?? 0), right: true },
  { header: 'MEMORY', value: ({ usage }) => formatBytes(usage?.memoryBytes ?? 0), right: true },
  { header: 'IO READ', value: ({ usage }) => formatRate(usage?.ioReadBytesPerSecond ?? 0), right: true },
  { header: 'IO WRITE', value: ({ usage }) => formatRate(usage?.ioWriteBytesPerSecond ?? 0), right: true },
  { header: 'NET IN', value: ({ usage }) => formatRate(usage?.networkReceiveBytesPerSecond ?? 0), right: true },
  { header: 'NET OUT', value: ({ usage }) => formatRate(usage?.networkTransmitBytesPerSecond ?? 0), right: true },
  { header: 'PIDS', value: ({ usage }) => String(usage?.pids ?? 0), right: true },
  { header: 'THROTTLED', value: ({ usage }) => `${(usage?.throttledPermille ?? 0) / 10}%`, right: true },
  {
    header: 'PRESSURE',
    value: ({ usage }) =>
      `${Math.max(usage?.cpuPressurePermille ?? 0, usage?.memoryPressurePermille ?? 0, usage?.ioPressurePermille ?? 0) / 10}%`,
    right: true,
  },
];

export const topKinds = ['nodes', 'services', 'containers'] as const;

/** gantry top */
export async function top(client: GantryClient, kind: (typeof topKinds)[number], format: Format): Promise<void> {
  if (kind === 'nodes') {
    const rows = await fetchNodes(client);
    const shares: Column<Node>[] = [
      { header: 'CPU%', value: (node) => share(node.usage?.cpuMillis ?? 0, node.machine?.capacity?.cpuMillis ?? 0), right: true },
      { header: 'MEM%', value: (node) => share(node.usage?.memoryBytes ?? 0, node.machine?.capacity?.memoryBytes ?? 0), right: true },
    ];
    const columns = [{ header: 'NODE', value: (node: Node) => node.name }, ...shares, ...usageColumns];
    return print(format, {
      rows,
      columns,
      name: (node) => node.name,
      json: () => ListNodesResponse.toJson(ListNodesResponse.create({ nodes: rows })),
      empty: 'No nodes.',
    });
  }
  if (kind === 'services') {
    const rows = await fetchServices(client);
    const columns = [{ header: 'SERVICE', value: (view: ServiceView) => keyText(view.service?.key) }, ...usageColumns];
    const json = () => ListServicesResponse.toJson(ListServicesResponse.create({ services: rows }));
    return print(format, { rows, columns, name: (view) => keyText(view.service?.key), json, empty: 'No services.' });
  }
  const rows = (await fetchContainers(client)).filter((one) => one.usage !== null);
  const columns = [
    { header: 'NAME', value: (one: Container) => one.name },
    { header: 'NODE', value: (one: Container) => one.node },
    ...usageColumns,
  ];
  const json = () => ({ containers: rows.map((one) => ContainerMessage.toJson(one)) });
  return print(format, { rows, columns, name: (one) => one.name, json, empty: 'No containers have been measured yet.' });
}

function eventLine(event: Event): string {
  const time = new Date(event.at / 1000).toISOString();
  const type = event.severity === EventSeverity.warning ? style.yellow(event.type) : event.type;
  return `${style.dim(time)}  ${type}  ${event.subject}  ${plain(event.message)}\n`;
}

/** gantry events */
export async function events(
  client: GantryClient,
  text: string | undefined,
  format: Format,
  follow: { signal: AbortSignal } | undefined,
): Promise<void> {
  const target = text === undefined ? none : await resolveTarget(client, text);
  const filter = { namespace: client.namespace, app: target.app, service: target.service, subject: target.container };
  const found = await allPages(async (page) => {
    const answer = await client.events.list(ListEventsRequest.create({ ...filter, page }));
    return { items: answer.events, nextToken: answer.nextToken };
  });
  if (format === 'json' || format === 'yaml') {
    return print(format, {
      rows: found,
      columns: [],
      name: (event) => event.id,
      json: () => ListEventsResponse.toJson(ListEventsResponse.create({ events: found })),
      empty: '',
    });
  }
  for (const event of found) await write(eventLine(event));
  if (!follow) return;
  const since = found.at(-1)?.at ?? 0;
  for await (const event of client.events.watch(WatchEventsRequest.create({ ...filter, since }), { signal: follow.signal })) {
    if (!found.some((old) => old.id === event.id)) await write(eventLine(event));
  }
}
