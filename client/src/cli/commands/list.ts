import { formatBytes, formatCpu, formatDuration, formatRate } from '@gantry/common';
import {
  type Container,
  ContainerHealth,
  Container as ContainerMessage,
  ContainerState,
  ListNodesRequest,
  type Node,
  Node as NodeMessage,
  NodeSettingsAvailability,
  NodeState,
  PortProtocol,
  type Resources,
  RolloutState,
  ServiceSpecMode,
  type ServiceView,
  ServiceView as ServiceViewMessage,
  type Usage,
} from '@gantry/proto';
import { allPages, type GantryClient } from '../../gantry-client.ts';
import { fetchContainers, fetchServices } from '../containers.ts';
import { type Format, print } from '../output.ts';
import { coloured, nameOf, plain } from '../style.ts';
import type { Column } from '../table.ts';
import { keyText, resolveTarget } from '../target.ts';

const age = (at: number): string => (at === 0 ? '-' : formatDuration(Date.now() * 1000 - at));

/** The state with its health when it has one: "running", "running (unhealthy)". */
function stateText({ state, health }: Container): string {
  const word = coloured(nameOf(ContainerState, state));
  if (health === ContainerHealth.none || state !== ContainerState.running) return word;
  return `${word} (${nameOf(ContainerHealth, health).replace('_', ' ')})`;
}

function portsText({ ports }: Container): string {
  return ports
    .map((port) => `${port.published ? `${port.published}->` : ''}${port.target}/${nameOf(PortProtocol, port.protocol)}`)
    .join(' ');
}

/** Why it has no place, or ended; of one that runs only why it was restarted: why it was placed there is no news. */
function reasonText({ refusal, state, ready, reason, restarts, lastReason }: Container): string {
  if (refusal) return plain(refusal.message);
  if (state === ContainerState.running && ready) return restarts > 0 ? plain(lastReason) : '';
  return plain(reason || (restarts > 0 ? lastReason : ''));
}

const containerColumns: readonly Column<Container>[] = [
  { header: 'NAME', value: (one) => one.name },
  { header: 'ID', value: (one) => one.id.slice(0, 12) || '-' },
  { header: 'NODE', value: (one) => one.node || '-' },
  { header: 'STATE', value: stateText },
  { header: 'RESTARTS', value: (one) => String(one.restarts), right: true },
  { header: 'AGE', value: (one) => age(one.startedAt || one.createdAt), right: true },
  { header: 'REV', value: (one) => String(one.revision), right: true, wide: true },
  { header: 'PID', value: (one) => (one.pid > 0 ? String(one.pid) : '-'), right: true, wide: true },
  { header: 'ADDRESS', value: (one) => one.address || '-', wide: true },
  { header: 'IMAGE', value: (one) => one.image, wide: true },
  { header: 'PORTS', value: portsText },
  { header: 'REASON', value: reasonText },
];

function listContainers(rows: readonly Container[], columns: readonly Column<Container>[], format: Format, empty: string): Promise<void> {
  const json = () => ({ containers: rows.map((one) => ContainerMessage.toJson(one)) });
  return print(format, { rows, columns, name: (one) => one.name, json, empty });
}

/** gantry ps */
export async function ps(client: GantryClient, text: string | undefined, format: Format, all: boolean): Promise<void> {
  const rows = await fetchContainers(client, text === undefined ? undefined : await resolveTarget(client, text), all);
  await listContainers(rows, containerColumns, format, 'No containers.');
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
  {
    header: 'NOTE',
    value: (view) => plain(view.service?.deletedAt ? 'being removed' : (view.refusal?.message ?? view.rollout?.reason ?? '')),
  },
];

function listServices(rows: readonly ServiceView[], columns: readonly Column<ServiceView>[], format: Format): Promise<void> {
  return print(format, {
    rows,
    columns,
    name: (view) => keyText(view.service?.key),
    json: () => ({ services: rows.map((one) => ServiceViewMessage.toJson(one)) }),
    empty: 'No services. gantry apply -f compose.yaml makes some.',
  });
}

/** gantry services */
export async function services(client: GantryClient, app: string | undefined, format: Format): Promise<void> {
  await listServices(await fetchServices(client, app), serviceColumns, format);
}

function nodeState(node: Node): string {
  const state = coloured(nameOf(NodeState, node.state));
  const availability = node.settings?.availability ?? NodeSettingsAvailability.active;
  return availability === NodeSettingsAvailability.active ? state : `${state}, ${coloured(nameOf(NodeSettingsAvailability, availability))}`;
}

function nodeLabels({ machine, settings }: Node): string {
  const labels = Object.entries({ ...machine?.labels, ...settings?.labels });
  return labels.map(([key, value]) => plain(`${key}=${value}`)).join(' ');
}

/** "100m/2": what is reserved of what there is. */
function reserved(amount: (one: Resources) => string): (node: Node) => string {
  return (node) => `${node.reserved ? amount(node.reserved) : '-'}/${node.machine?.capacity ? amount(node.machine.capacity) : '-'}`;
}

const nodeColumns: readonly Column<Node>[] = [
  { header: 'NODE', value: (node) => node.name },
  { header: 'STATE', value: nodeState },
  { header: 'CONTAINERS', value: (node) => String(node.containers), right: true },
  { header: 'CPU', value: reserved((one) => formatCpu(one.cpuMillis)), right: true },
  { header: 'MEMORY', value: reserved((one) => formatBytes(one.memoryBytes)), right: true },
  { header: 'IO', value: reserved((one) => formatRate(one.ioBytesPerSecond)), right: true },
  { header: 'NETWORK', value: reserved((one) => formatRate(one.networkBytesPerSecond)), right: true },
  { header: 'ADDRESS', value: (node) => node.machine?.address ?? '' },
  { header: 'VERSION', value: (node) => node.machine?.agentVersion ?? '', wide: true },
  { header: 'KERNEL', value: (node) => node.machine?.kernel ?? '', wide: true },
  { header: 'SUBNET', value: (node) => node.machine?.subnet ?? '', wide: true },
  { header: 'LABELS', value: nodeLabels },
];

async function listNodes(client: GantryClient, columns: readonly Column<Node>[], format: Format): Promise<void> {
  const rows = await allPages(async (page) => {
    const answer = await client.nodes.list(ListNodesRequest.create({ page }));
    return { items: answer.nodes, nextToken: answer.nextToken };
  });
  await print(format, {
    rows,
    columns,
    name: (node) => node.name,
    json: () => ({ nodes: rows.map((one) => NodeMessage.toJson(one)) }),
    empty: 'No nodes. gantry token create prints how one joins.',
  });
}

/** gantry nodes */
export function nodes(client: GantryClient, format: Format): Promise<void> {
  return listNodes(client, nodeColumns, format);
}

interface Used {
  usage: Usage | null;
}

function pressure({ usage }: Used): string {
  const most = Math.max(usage?.cpuPressurePermille ?? 0, usage?.memoryPressurePermille ?? 0, usage?.ioPressurePermille ?? 0);
  return `${most / 10}%`;
}

const usageColumns: readonly Column<Used>[] = [
  { header: 'CPU', value: ({ usage }) => formatCpu(usage?.cpuMillis ?? 0), right: true },
  { header: 'MEMORY', value: ({ usage }) => formatBytes(usage?.memoryBytes ?? 0), right: true },
  { header: 'IO READ', value: ({ usage }) => formatRate(usage?.ioReadBytesPerSecond ?? 0), right: true },
  { header: 'IO WRITE', value: ({ usage }) => formatRate(usage?.ioWriteBytesPerSecond ?? 0), right: true },
  { header: 'NET IN', value: ({ usage }) => formatRate(usage?.networkReceiveBytesPerSecond ?? 0), right: true },
  { header: 'NET OUT', value: ({ usage }) => formatRate(usage?.networkTransmitBytesPerSecond ?? 0), right: true },
  { header: 'PIDS', value: ({ usage }) => String(usage?.pids ?? 0), right: true },
  { header: 'THROTTLED', value: ({ usage }) => `${(usage?.throttledPermille ?? 0) / 10}%`, right: true },
  { header: 'PRESSURE', value: pressure, right: true },
];

const share = (part: number, whole: number): string => (whole > 0 ? `${Math.round((100 * part) / whole)}%` : '-');
const busiestFirst = (a: Used, b: Used): number => (b.usage?.cpuMillis ?? 0) - (a.usage?.cpuMillis ?? 0);

export const topKinds = ['containers', 'services', 'nodes'] as const;

/** gantry top: the busiest first. */
export async function top(client: GantryClient, kind: (typeof topKinds)[number], format: Format): Promise<void> {
  if (kind === 'nodes') {
    const columns: readonly Column<Node>[] = [
      { header: 'NODE', value: (node) => node.name },
      { header: 'CPU%', value: ({ usage, machine }) => share(usage?.cpuMillis ?? 0, machine?.capacity?.cpuMillis ?? 0), right: true },
      { header: 'MEM%', value: ({ usage, machine }) => share(usage?.memoryBytes ?? 0, machine?.capacity?.memoryBytes ?? 0), right: true },
      ...usageColumns,
    ];
    return listNodes(client, columns, format);
  }
  if (kind === 'services') {
    const columns: readonly Column<ServiceView>[] = [{ header: 'SERVICE', value: (view) => keyText(view.service?.key) }, ...usageColumns];
    return listServices((await fetchServices(client)).toSorted(busiestFirst), columns, format);
  }
  const rows = (await fetchContainers(client)).filter((one) => one.usage !== null).toSorted(busiestFirst);
  const columns: readonly Column<Container>[] = [
    { header: 'NAME', value: (one) => one.name },
    { header: 'NODE', value: (one) => one.node },
    ...usageColumns,
  ];
  return listContainers(rows, columns, format, 'No containers have been measured yet.');
}
