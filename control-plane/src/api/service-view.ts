import { AssignmentDesired, type Container, ContainerState, NodeState, type Service, ServiceView, Usage } from '@gantry/proto';
import { type ContainerRecord, containerState, isGlobal, isOver, joinContainer, pendingContainer } from '../cluster/container.ts';
import { type ClusterView, serviceId } from '../cluster/view.ts';
import type { Planner, UsageSource } from './ports.ts';

/** What views of services and containers are made from. */
export interface Picture {
  readonly view: ClusterView;
  readonly usage: UsageSource;
  readonly planner: Pick<Planner, 'eligibleNodes'>;
}

/** How many containers a service wants: the autoscaler's word before the spec's, and none once it is deleted. */
function desiredCount({ view, planner }: Picture, service: Service): number {
  const { key, spec, deletedAt } = service;
  if (!spec || !key || deletedAt > 0) return 0;
  if (isGlobal(spec.mode)) return planner.eligibleNodes(spec).length;
  return spec.autoscale ? (view.scales.get(serviceId(key))?.value.replicas ?? spec.replicas) : spec.replicas;
}

/** A service with its rollout, its containers counted and their usage summed. */
export function viewService(picture: Picture, service: Service): ServiceView {
  const { view, usage } = picture;
  const id = serviceId(service.key!);
  const records = view.containersOf(id);
  const states = records.map((record) => stateOf(view, record));
  const rollout = view.rollouts.get(id)?.value ?? null;
  const target = rollout?.targetRevision || service.generation;
  const desired = desiredCount(picture, service);
  const live = records.filter((record) => !isOver(record.status) && record.assignment.desired === AssignmentDesired.run);
  const count = (state: ContainerState) => states.filter((one) => one === state).length;
  return ServiceView.create({
    service,
    rollout,
    desired,
    running: count(ContainerState.running),
    ready: records.filter(({ status }, index) => states[index] === ContainerState.running && status?.ready).length,
    pending: Math.max(0, desired - liveOrDone(records, states)),
    failed: count(ContainerState.failed) + count(ContainerState.rejected),
    updated: live.filter(({ assignment }) => assignment.revision === target).length,
    usage: sumUsage(records.map(({ assignment }) => usage.latest(assignment.id))),
    refusal: view.refusals.get(id)?.value.refusal ?? null,
    containers: records.length,
  });
}

/** Slots that need no new container: they run, or have done what they were for. */
function liveOrDone(records: readonly ContainerRecord[], states: readonly ContainerState[]): number {
  return records.filter(({ assignment }, index) => assignment.desired === AssignmentDesired.run && states[index] !== ContainerState.lost)
    .length;
}

function stateOf(view: ClusterView, record: ContainerRecord): ContainerState {
  return containerState(record, view.nodeState(record.assignment.node) === NodeState.lost);
}

/** One container as users see it. */
export function viewContainer({ view, usage }: Pick<Picture, 'view' | 'usage'>, record: ContainerRecord): Container {
  const { id, node } = record.assignment;
  return joinContainer(record, {
    usage: usage.latest(id),
    estimate: usage.estimate(id),
    nodeLost: view.nodeState(node) === NodeState.lost,
  });
}

/** Slots of a service that wait for a place, as containers without an id. */
export function pendingOf(picture: Picture, service: Service): Container[] {
  const { view } = picture;
  if (!service.spec || isGlobal(service.spec.mode)) return [];
  const id = serviceId(service.key!);
  const taken = new Set(
    view
      .containersOf(id)
      .filter(({ assignment }) => assignment.desired === AssignmentDesired.run)
      .map(({ assignment }) => assignment.slot),
  );
  const refusal = view.refusals.get(id)?.value.refusal ?? null;
  const slots = Array.from({ length: desiredCount(picture, service) }, (_, index) => index + 1);
  return slots.filter((slot) => !taken.has(slot)).map((slot) => pendingContainer(service, slot, refusal));
}

/** One slot of a service as long as it waits for a place. */
export function pendingAt(picture: Picture, service: Service, slot: number): Container | undefined {
  const { view } = picture;
  if (!service.spec || isGlobal(service.spec.mode) || slot > desiredCount(picture, service)) return undefined;
  const id = serviceId(service.key!);
  for (const { value } of view.assignmentsOf(id).values()) {
    if (value.slot === slot && value.desired === AssignmentDesired.run) return undefined;
  }
  return pendingContainer(service, slot, view.refusals.get(id)?.value.refusal ?? null);
}

/** The sum of what is known; null when nothing is. */
function sumUsage(usages: readonly (Usage | undefined)[]): Usage | null {
  const known = usages.filter((usage) => usage !== undefined);
  if (known.length === 0) return null;
  const sum = Usage.create();
  for (const usage of known) {
    for (const field of Object.keys(sum) as (keyof Usage)[]) sum[field] += usage[field];
  }
  sum.at = Math.max(...known.map((usage) => usage.at));
  // shares of time do not add up: the worst one counts
  for (const field of ['throttledPermille', 'cpuPressurePermille', 'memoryPressurePermille', 'ioPressurePermille'] as const) {
    sum[field] = Math.max(...known.map((usage) => usage[field]));
  }
  return sum;
}
