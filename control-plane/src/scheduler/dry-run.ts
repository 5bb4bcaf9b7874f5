import { MountType, NodeCapacity, PlannedPlacement, type ServiceKey, type ServiceSpec } from '@gantry/proto';
import { isGlobal } from '../cluster/container.ts';
import { type ClusterView, serviceId } from '../cluster/view.ts';
import type { ApartIndex } from './apart-index.ts';
import { type DemandContext, demandOf } from './demand.ts';
import { type Amounts, dimensions, resourcesOf } from './dimensions.ts';
import { Engine } from './engine.ts';
import { explainRefusal } from './explain.ts';
import type { NodeTable } from './node-table.ts';
import { occupancyOf } from './occupancy.ts';
import type { Demand, Strategy } from './ports.ts';
import { chooseVictims } from './preempt.ts';

/** One service as a change would leave it. */
export interface DryService {
  readonly key: ServiceKey;
  readonly spec: ServiceSpec;
  /** Slots that need a new container; not looked at for global services. */
  readonly slots: readonly number[];
  /** Ids of containers that go: their reservations are free afterwards. */
  readonly frees: readonly string[];
}

export interface DryRun {
  readonly placements: readonly PlannedPlacement[];
  readonly capacity: readonly NodeCapacity[];
  readonly warnings: readonly string[];
}

export interface DryRunInput {
  readonly view: ClusterView;
  /** A copy that may be changed. */
  readonly table: NodeTable;
  /** Who keeps apart from whom; may be changed as well. */
  readonly apart: ApartIndex;
  readonly strategy: Strategy;
  readonly nowUs: number;
}

/**
 * Where the containers of all services together would go, by the same engine as in earnest. What is to go is taken as gone: a rollout
 * that starts the new before it stops the old needs more room on the way.
 * @throws GantryError invalidArgument when a constraint cannot be read.
 */
export function planPlacements(input: DryRunInput, services: readonly DryService[]): DryRun {
  const { table, strategy } = input;
  const before = reservedByNode(table);
  for (const { key, frees } of services) for (const id of frees) table.release(serviceId(key), id);
  for (const { key, spec } of services) input.apart.set(serviceId(key), spec);
  const engine = new Engine(table, { strategy });
  const bound = new Map<string, string>();
  const gone = new Set(services.flatMap(({ frees }) => frees));
  const evictions: string[] = [];
  const evict = (service: string, spec: ServiceSpec, demand: Demand, missing: number): void => {
    const victims = chooseVictims(table, { service, demand, priority: spec.priority, missing }, occupancyOf(input.view, gone));
    for (const { id, service: name } of victims) {
      gone.add(id);
      const node = input.view.assignments.get(id)?.value.node ?? '';
      evictions.push(`${shortName(name)} on ${node} would be stopped to make room for ${shortName(service)}`);
    }
  };
  const placements = services
    .toSorted((a, b) => b.spec.priority - a.spec.priority)
    .flatMap((service) =>
      isGlobal(service.spec.mode) ? planGlobal(input, engine, service) : planSlots({ ...input, evict }, engine, service, bound),
    );
  const after = reservedByNode(table);
  const capacity = [...table.nodes()].map((node) =>
    NodeCapacity.create({
      node: node.name,
      capacity: resourcesOf(node.capacity),
      reservedBefore: resourcesOf(before.get(node.name)!),
      reservedAfter: resourcesOf(after.get(node.name)!),
    }),
  );
  return { placements, capacity: capacity.sort((a, b) => (a.node < b.node ? -1 : 1)), warnings: [...warningsOf(table), ...evictions] };
}

/** Finds who would have to go for containers that found no place. */
type Evict = (service: string, spec: ServiceSpec, demand: Demand, missing: number) => void;

/** "app/service" of a full name. */
function shortName(service: string): string {
  return service.slice(service.indexOf('/') + 1);
}

function reservedByNode(table: NodeTable): Map<string, Amounts> {
  const reserved = new Map<string, Amounts>();
  for (const { name } of table.nodes()) {
    const row = table.rowOf(name)!;
    reserved.set(
      name,
      Float64Array.from(dimensions, (_, dimension) => table.used(dimension, row)),
    );
  }
  return reserved;
}

/** Nodes that cannot take part. */
function warningsOf(table: NodeTable): string[] {
  const out = [...table.nodes()].filter((node) => node.unready !== '').map((node) => `node ${node.name} takes no part: ${node.unready}`);
  return [...table.nodes()].length === 0 ? ['there is no node yet'] : out.sort();
}

function planGlobal(
  { table, apart, view, strategy, nowUs }: DryRunInput,
  engine: Engine,
  { key, spec, frees }: DryService,
): PlannedPlacement[] {
  const id = serviceId(key);
  const gone = new Set(frees);
  const kept = [...view.assignmentsOf(id).values()].filter(({ value }) => !gone.has(value.id));
  const has = new Set(kept.map(({ value }) => value.node));
  return engine
    .eligibleNodes(demandOf(spec))
    .filter((node) => !has.has(node))
    .map((node) => {
      const demand = demandOf(spec, { service: id, keptApart: apart.from(id), pin: { node, reason: "the slot's place" } });
      const { placed } = engine.place({ service: id, demand, ids: [`${id} ${node}`], scores: true });
      if (placed[0]) return PlannedPlacement.create({ service: key.service, node, scores: placed[0].scores });
      return PlannedPlacement.create({
        service: key.service,
        refusal: explainRefusal(table, { service: id, demand, missing: 1, sinceUs: nowUs, strategy }),
      });
    });
}

function planSlots(
  input: DryRunInput & { evict: Evict },
  engine: Engine,
  { key, spec, slots }: DryService,
  bound: Map<string, string>,
): PlannedPlacement[] {
  const id = serviceId(key);
  const volumes = (spec.container?.mounts ?? [])
    .filter(({ type, source }) => type === MountType.volume && source !== '')
    .map(({ source }) => `${key.namespace}/${key.app}/${source}`);
  const planned: PlannedPlacement[] = [];
  const run = (wanted: readonly number[], context: DemandContext): void => {
    const demand = demandOf(spec, { ...context, service: id, keptApart: input.apart.from(id) });
    const { placed, refused } = engine.place({
      service: id,
      demand,
      ids: wanted.map((slot) => `${id} ${slot}`),
      scores: wanted.length <= 50,
    });
    planned.push(
      ...placed.map(({ node, scores }, index) => PlannedPlacement.create({ service: key.service, slot: wanted[index]!, node, scores })),
    );
    if (refused.length === 0) return;
    const { table, strategy, nowUs } = input;
    input.evict(id, spec, demand, refused.length);
    const refusal = explainRefusal(table, { service: id, demand, missing: refused.length, sinceUs: nowUs, strategy });
    planned.push(...wanted.slice(placed.length).map((slot) => PlannedPlacement.create({ service: key.service, slot, refusal })));
  };
  if (slots.length === 0) return planned;
  if (volumes.length === 0) {
    run(slots, {});
    return planned;
  }
  const home = () => volumes.map((volume) => input.view.volumes.get(volume)?.value.node || bound.get(volume)).find((node) => node);
  const pin = (): DemandContext => {
    const node = home();
    return node ? { pin: { node, reason: 'the data of its volume' } } : {};
  };
  // The first container decides where an unbound volume will be; all others follow it.
  run(slots.slice(0, 1), pin());
  const first = planned[0]?.node;
  if (first) for (const volume of volumes) bound.set(volume, first);
  if (slots.length > 1) run(slots.slice(1), pin());
  return planned;
}
