import {
  type Assignment,
  AssignmentDesired,
  Container,
  ContainerState,
  type ContainerStatus,
  type Refusal,
  type Resources,
  type Service,
  type ServiceSpec,
  ServiceSpecMode,
  type Usage,
} from '@gantry/proto';

/** One container as the view has it: what should run, and the agent's last word on it. */
export interface ContainerRecord {
  readonly assignment: Assignment;
  readonly status: ContainerStatus | undefined;
}

/** Whether nothing more happens to a container: one that failed but is not given up starts again after its back-off. */
export function isOver(status: ContainerStatus | undefined): boolean {
  return status !== undefined && (status.final || status.state === ContainerState.complete || status.state === ContainerState.rejected);
}

/** "app/service.slot"; for global services the node stands for the slot. */
export function containerName(assignment: Pick<Assignment, 'key' | 'slot' | 'node'>): string {
  const { key, slot, node } = assignment;
  return `${key?.app ?? ''}/${key?.service ?? ''}.${slot > 0 ? slot : node}`;
}

export interface ContainerExtras {
  usage?: Usage | undefined;
  /** What it is expected to use. */
  estimate?: Resources | undefined;
  /** Whether its node is lost: a container there that has not ended is shown as `lost`. */
  nodeLost?: boolean;
}

/** State as users see it, from the assignment, the agent's word and whether the node is there. */
export function containerState({ assignment, status }: ContainerRecord, nodeLost: boolean): ContainerState {
  if (status && isOver(status)) return status.state;
  if (nodeLost) return ContainerState.lost;
  if (assignment.desired === AssignmentDesired.stop) return ContainerState.stopping;
  return status ? status.state : ContainerState.assigned;
}

/** Assignment, status and usage joined into what users see. */
export function joinContainer(record: ContainerRecord, extras: ContainerExtras = {}): Container {
  const { assignment, status } = record;
  const state = containerState(record, extras.nodeLost ?? false);
  return Container.create({
    ...described(assignment),
    state,
    reservation: assignment.reservation,
    desired: assignment.desired,
    final: isOver(status),
    createdAt: assignment.createdAt,
    usage: extras.usage ?? null,
    estimate: isOver(status) ? null : (extras.estimate ?? null),
    reason: status?.reason || assignment.reason,
    ...(status && reported(status, state)),
  });
}

/** A replica that has no place yet, shown like a container; it has no id. */
export function pendingContainer(service: Service, slot: number, refusal: Refusal | null): Container {
  const { key, spec, generation, updatedAt } = service;
  return Container.create({
    name: `${key?.app ?? ''}/${key?.service ?? ''}.${slot}`,
    namespace: key?.namespace ?? '',
    app: key?.app ?? '',
    service: key?.service ?? '',
    slot,
    revision: generation,
    state: ContainerState.pending,
    reason: refusal?.message ?? '',
    createdAt: updatedAt,
    ports: spec?.ports ?? [],
    image: spec?.container?.image ?? '',
    reservation: spec?.reservation ?? null,
    refusal,
  });
}

/** Whether a service runs once on each node. */
export function isGlobal(mode: ServiceSpecMode): boolean {
  return mode === ServiceSpecMode.global || mode === ServiceSpecMode.global_job;
}

const defaultDrainUs = 1e6;

/** How long a container goes on after it was taken out of traffic: as the spec says, else 1 s where there is traffic to end. */
export function drainUsOf(spec: ServiceSpec): number {
  if (spec.drainUs > 0) return spec.drainUs;
  const served = spec.ports.some(({ published }) => published > 0) || spec.container?.health || spec.container?.readiness;
  return served ? defaultDrainUs : 0;
}

function described(assignment: Assignment): Partial<Container> {
  const { id, key, slot, revision, node, spec } = assignment;
  return {
    id,
    name: containerName(assignment),
    namespace: key?.namespace ?? '',
    app: key?.app ?? '',
    service: key?.service ?? '',
    slot,
    revision,
    node,
    ports: spec?.ports ?? [],
    image: spec?.container?.image ?? '',
  };
}

function reported(status: ContainerStatus, state: ContainerState): Partial<Container> {
  const { health, exitCode, restarts, address, imageDigest, startedAt, finishedAt, pid, oomKilled, lastReason, lastExitCode } = status;
  const ready = status.ready && state === ContainerState.running;
  return { health, ready, exitCode, restarts, address, imageDigest, startedAt, finishedAt, pid, oomKilled, lastReason, lastExitCode };
}
