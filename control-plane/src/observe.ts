import { GantryError } from '@gantry/common';
import { ComponentStatus, ContainerState, NodeState } from '@gantry/proto';
import { containerState } from './cluster/container.ts';
import type { ClusterView } from './cluster/view.ts';
import type { Config } from './config.ts';
import type { Gateway } from './gateway/gateway.ts';
import { countBy, type Figure, processFigures } from './http/metrics.ts';
import type { Store } from './store/store.ts';
import type { EventLog } from './usage/event-log.ts';
import type { History } from './usage/history.ts';

/** The parts whose state is shown. */
export interface ObserveOptions {
  config: Config;
  store: Store;
  view: ClusterView;
  gateway: Gateway;
  history: History;
  events: EventLog;
}

const probeMs = 1500;

/** State of the parts that the control plane depends on; it never waits long. */
export async function components({ config, store, view, gateway, history }: ObserveOptions): Promise<ComponentStatus[]> {
  const started = performance.now();
  const probe = await Promise.race([
    store.revision().then(
      (revision) => ({ healthy: true, detail: `etcd answers in ${(performance.now() - started).toFixed(1)} ms, revision ${revision}` }),
      (error: unknown) => ({ healthy: false, detail: GantryError.from(error).message }),
    ),
    later(probeMs, { healthy: false, detail: `etcd did not answer in ${probeMs} ms` }),
  ]);
  const leader = view.leader.get('leader')?.value.id;
  return [
    ComponentStatus.create({ name: 'store', ...probe }),
    ComponentStatus.create({ name: 'view', healthy: view.revision > 0, detail: `revision ${view.revision}` }),
    ComponentStatus.create({
      name: 'leader',
      healthy: leader !== undefined,
      detail: leader === undefined ? 'nobody leads' : `${leader} leads`,
    }),
    ComponentStatus.create({ name: 'gateway', healthy: true, detail: `${gateway.sessions.size} sessions on ${config.id}` }),
    ComponentStatus.create({ name: 'redis', ...history.state() }),
  ];
}

function later<T>(ms: number, value: T): Promise<T> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(value), ms).unref();
  });
}

/** What /metrics shows. */
export function figures({ config, view, gateway, events }: ObserveOptions): Figure[] {
  const gauge = (name: string, help: string, read: Figure['read'], label?: string): Figure => ({
    name,
    help,
    kind: 'gauge',
    read,
    ...(label ? { label } : {}),
  });
  const isLost = (node: string) => view.nodeState(node) === NodeState.lost;
  return [
    gauge('gantry_sessions', 'Agents connected to this control plane.', () => gateway.sessions.size),
    gauge('gantry_leader', 'Whether this control plane leads.', () => Number(view.leader.get('leader')?.value.id === config.id)),
    gauge('gantry_view_revision', 'Revision of the store that this control plane shows.', () => view.revision),
    gauge('gantry_services', 'Services.', () => view.services.size),
    gauge('gantry_nodes', 'Nodes by state.', () => countBy(view.nodes.keys(), (name) => nameOf(NodeState, view.nodeState(name))), 'state'),
    gauge(
      'gantry_containers',
      'Containers by state.',
      () =>
        countBy(view.assignments.keys(), (id) =>
          nameOf(ContainerState, containerState(view.container(id)!, isLost(view.assignments.get(id)!.value.node))),
        ),
      'state',
    ),
    gauge('gantry_statuses_waiting', 'Status records that wait for the store.', () => gateway.queues.statuses),
    gauge('gantry_stops_held', 'Stops that wait until no traffic goes there.', () => gateway.queues.holds),
    gauge('gantry_zones_braked', 'Zones in which too many nodes are silent to believe it.', () => gateway.queues.braked),
    { name: 'gantry_events_total', help: 'Events seen.', kind: 'counter', read: () => events.total },
    ...processFigures(),
  ];
}

function nameOf(values: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(values).find((name) => values[name] === value) ?? String(value);
}
