import {
  ContainerState,
  DependencyCondition,
  MountType,
  NodeSettingsAvailability,
  type Revision,
  type Service,
  type ServiceSpec,
} from '@gantry/proto';
import { isGlobal } from '../cluster/container.ts';
import { type ClusterView, serviceId } from '../cluster/view.ts';
import { type Desired, isJob } from './desired.ts';
import { waitingPrefix } from './plan.ts';
import type { Scheduler } from './ports.ts';
import { isComplete, isReady, type NodeCondition, type Replica } from './replica.ts';

/** What of the view an evaluation reads, as plain data. */
export interface Gathered {
  readonly desired: Desired | undefined;
  readonly replicas: readonly Replica[];
}

export interface GatherContext {
  readonly view: ClusterView;
  readonly scheduler: Pick<Scheduler, 'eligibleNodes' | 'mayStay'>;
  /** When a container was first seen to have ended, by its id: an agent's clock may be wrong. */
  readonly endedUs: (id: string, agentUs: number) => number;
}

/** Reads a service and its containers ("namespace/app/service") from the view. */
export function gather(context: GatherContext, id: string): Gathered {
  const { view } = context;
  const service = view.services.get(id)?.value;
  const replicas = replicasOf(context, id);
  if (!service?.spec || !service.key) return { desired: undefined, replicas };
  const { spec } = service;
  const volumes = namedVolumes(spec);
  const wantsVolume = volumes.length > 0 && !isGlobal(spec.mode);
  return {
    replicas,
    desired: {
      service,
      replicas: wantedCount(view, id, spec),
      rollout: view.rollouts.get(id)?.value,
      request: view.rolloutRequests.get(id)?.value,
      revisions: new Map(view.revisionsOf(id).map((revision): [number, Revision] => [revision.number, revision])),
      nodes: isGlobal(spec.mode) ? nodesOf(context, spec, replicas) : { wanted: [], open: new Set() },
      waitsFor: waitsFor(context, service),
      bound: wantsVolume,
      exclusive: wantsVolume && volumes.some((name) => view.volumes.get(volumeId(service, name))?.value.spec?.singleWriter),
    },
  };
}

/** The autoscaler's word where it has one, else the spec's. */
function wantedCount(view: ClusterView, id: string, spec: ServiceSpec): number {
  return spec.autoscale ? (view.scales.get(id)?.value.replicas ?? spec.replicas) : spec.replicas;
}

/** Names of the volumes that a spec mounts. */
export function namedVolumes(spec: ServiceSpec): string[] {
  return (spec.container?.mounts ?? [])
    .filter(({ type, source }) => type === MountType.volume && source !== '')
    .map(({ source }) => source);
}

/** A volume's id in the view. */
export function volumeId({ key }: Service, name: string): string {
  return `${key?.namespace ?? ''}/${key?.app ?? ''}/${name}`;
}

function replicasOf({ view, scheduler, endedUs }: GatherContext, id: string): Replica[] {
  const conditions = new Map<string, NodeCondition>();
  const spec = view.services.get(id)?.value.spec;
  return view.containersOf(id).map(({ assignment, status }) => {
    let node = conditions.get(assignment.node);
    if (node === undefined) {
      node = conditionOf(view, assignment.node, (name) => !spec || scheduler.mayStay(spec, name));
      conditions.set(assignment.node, node);
    }
    const ended = status !== undefined && status.state >= ContainerState.complete;
    return { assignment, status, node, endedUs: ended ? endedUs(assignment.id, status.updatedAt) : 0 };
  });
}

function conditionOf(view: ClusterView, name: string, mayStay: (name: string) => boolean): NodeCondition {
  const settings = view.nodes.get(name)?.value;
  if (!settings || settings.removed) return 'gone';
  if ((view.machines.get(name)?.value.lostAt ?? 0) > 0) return 'lost';
  if (settings.availability === NodeSettingsAvailability.draining || !mayStay(name)) return 'leaving';
  return 'here';
}

/** A global service's nodes: those that can take one, and those that have one and may keep it. */
function nodesOf({ scheduler }: GatherContext, spec: ServiceSpec, replicas: readonly Replica[]): Desired['nodes'] {
  const open = new Set(scheduler.eligibleNodes(spec));
  const kept = replicas.filter(
    (replica) => replica.node === 'here' || replica.node === 'lost' || (isJob(spec.mode) && isComplete(replica)),
  );
  return { open, wanted: [...new Set([...open, ...kept.map(({ assignment }) => assignment.node)])].sort() };
}

/** The first dependency whose condition does not hold, in words; empty when all hold. */
function waitsFor(context: GatherContext, { spec, key }: Service): string {
  for (const { service: name, condition } of spec?.dependsOn ?? []) {
    const id = serviceId({ namespace: key?.namespace ?? '', app: key?.app ?? '', service: name });
    const dependency = context.view.services.get(id)?.value;
    if (!dependency || dependency.deletedAt > 0) return `${waitingPrefix}${name}, which is not there`;
    const own = replicasOf(context, id).filter(({ assignment }) => assignment.serviceUid === dependency.uid);
    const reason = unmet(context, id, dependency, own, condition);
    if (reason !== '') return `${waitingPrefix}${name} ${reason}`;
  }
  return '';
}

function unmet({ view }: GatherContext, id: string, { spec }: Service, own: readonly Replica[], condition: DependencyCondition): string {
  switch (condition) {
    case DependencyCondition.service_started:
      return own.some(({ status }) => status && (status.startedAt > 0 || status.state === ContainerState.running)) ? '' : 'to start';
    case DependencyCondition.service_healthy:
      return own.some(isReady) ? '' : 'to be healthy';
    case DependencyCondition.service_completed_successfully: {
      const wanted = spec && !isGlobal(spec.mode) ? wantedCount(view, id, spec) : Math.max(1, own.length);
      const done = own.filter(isComplete).length;
      return done >= wanted ? '' : `to complete: ${done} of ${wanted} have`;
    }
  }
}
