import type { Clock } from '@gantry/common';
import { type Assignment, Refusal, type Rollout, type Service, type ServiceSpec } from '@gantry/proto';
import { drainUsOf } from '../cluster/container.ts';
import { type ClusterView, serviceId } from '../cluster/view.ts';
import type { Unit } from './commit.ts';
import type { Desired } from './desired.ts';
import { type GatherContext, gather, namedVolumes, volumeId } from './gather.ts';
import { planOrphans, planService } from './plan.ts';
import type { PlaceOutcome, PlaceRequest, Scheduler } from './ports.ts';
import {
  type Binding,
  finishUnit,
  type PlacedContainer,
  placeUnit,
  refusalUnit,
  removeUnit,
  renumberUnit,
  rolloutUnit,
  stopUnit,
} from './records.ts';
import type { Replica } from './replica.ts';
import { crashesByNode } from './restart.ts';
import type { Place, Plan } from './steps.ts';

/** More containers than this at once are not told how their nodes were scored: it would cost more than to place them. */
const explainedAtMost = 50;
/** Containers that are tried before it is looked whether the nodes are full. */
const placedAtOnce = 500;
/** A refusal that stands is explained anew at most this often. */
const explainEveryUs = 5e6;

/** What one evaluation wants written, and when to look again. */
export interface Evaluation {
  readonly units: readonly Unit[];
  readonly waitUntilUs: number;
  /** Containers without a place: look again when there is more room. */
  readonly pending: boolean;
  /** Waits for another service. */
  readonly waiting: boolean;
  readonly notes: Notes;
}

/** What users may want to know of. */
export interface Notes {
  readonly key: Service['key'];
  readonly plan: Plan | undefined;
  readonly before: Rollout | undefined;
  readonly placed: readonly PlacedContainer[];
  /** Containers of other services that make room for it. */
  readonly evicted?: readonly Assignment[];
  /** Newly refused, or for another reason than before. */
  readonly refusal: string;
}

export interface EvaluateContext extends GatherContext {
  readonly scheduler: Scheduler;
  readonly clock: Clock;
  readonly newId: () => string;
  /** Volumes that this pass binds, by id: node. */
  readonly bound: Map<string, string>;
  /** When a service's refusal was last explained, microseconds. */
  readonly explainedUs: Map<string, number>;
}

/** One evaluation of one service: gathers, plans, finds nodes, and says what to write. */
export function evaluate(context: EvaluateContext, id: string): Evaluation {
  const { view, clock } = context;
  const nowUs = clock.nowUs();
  const { desired, replicas } = gather(context, id);
  const entry = view.services.get(id);
  if (!desired || !entry) return evaluateOrphans(view, id, replicas);
  const plan = planService(desired, replicas, nowUs);
  const key = desired.service.key!;
  const units: (Unit | undefined)[] = [
    ...plan.stop.map((stop) => stopUnit(view, id, stop)),
    ...plan.remove.map((assignment) => removeUnit(id, assignment)),
    ...plan.renumber.map((renumber) => renumberUnit(view, id, renumber, desired)),
  ];
  if (plan.rollout) units.push(rolloutUnit(view, id, key, plan.rollout));
  if (plan.finished) units.push(finishUnit(view, id, entry));
  const found = place(context, id, desired, replicas, plan.place);
  units.push(...found.placed.map((placed) => placeUnit(desired, entry, id, placed, found.bindings.get(placed.id) ?? [], nowUs)));
  const refusal = refusalOf(context, id, found, nowUs);
  if (!plan.finished && refusal !== 'keep') units.push(refusalUnit(view, id, key, refusal?.refusal, refusal?.slots ?? []));
  const evicted = refusal === 'keep' ? [] : evict(context, id, desired, found);
  for (const assignment of evicted) units.push(evictUnit(context, id, desired, assignment));
  const before = view.refusals.get(id)?.value.refusal?.message;
  return {
    units: units.filter((unit) => unit !== undefined),
    waitUntilUs: plan.waitUntilUs,
    pending: found.refused.length > 0,
    waiting: plan.waitsFor !== '',
    notes: {
      key,
      plan,
      before: desired.rollout,
      placed: found.placed,
      evicted,
      refusal: refusal !== 'keep' && refusal && refusal.refusal.message !== before ? refusal.refusal.message : '',
    },
  };
}

/** Containers of a service that has no record: they stop and go. */
function evaluateOrphans(view: ClusterView, id: string, replicas: readonly Replica[]): Evaluation {
  const plan = planOrphans(replicas);
  const units = [...plan.stop.map((stop) => stopUnit(view, id, stop)), ...plan.remove.map((assignment) => removeUnit(id, assignment))];
  return {
    units: units.filter((unit) => unit !== undefined),
    waitUntilUs: Number.POSITIVE_INFINITY,
    pending: false,
    waiting: false,
    notes: { key: null, plan, before: undefined, placed: [], refusal: '' },
  };
}

interface Found {
  readonly placed: PlacedContainer[];
  readonly refused: Place[];
  readonly explain: PlaceOutcome['explain'] | undefined;
  /** What found no room, by spec and the node that it must be on. */
  readonly squeezed: Pick<PlaceRequest, 'spec' | 'pin'>[];
  /** Volumes that a container binds, by its id. */
  readonly bindings: Map<string, Binding[]>;
}

/** Finds nodes for the containers of a plan: all of one revision and one pin in one request. */
function place(context: EvaluateContext, id: string, desired: Desired, replicas: readonly Replica[], places: readonly Place[]): Found {
  const found = { placed: [], refused: [], explain: undefined, bindings: new Map(), squeezed: [] } as {
    placed: PlacedContainer[];
    refused: Place[];
    explain: Found['explain'];
    bindings: Map<string, Binding[]>;
    squeezed: Found['squeezed'];
  };
  if (places.length === 0) return found;
  const crashes = crashesByNode(replicas);
  for (const group of Map.groupBy(places, ({ revision, node }) => `${revision} ${node ?? ''}`).values()) {
    const [first] = group as [Place, ...Place[]];
    const spec = desired.revisions.get(first.revision)?.spec ?? desired.service.spec!;
    const ask = (wanted: readonly Place[], pin: PlaceRequest['pin']): PlaceOutcome => {
      const ids = wanted.map(() => context.newId());
      const scores = places.length <= explainedAtMost;
      const outcome = context.scheduler.place({ service: id, spec, replicas: desired.replicas, ids, crashes, scores, ...(pin && { pin }) });
      const byId = new Map(ids.map((name, index) => [name, wanted[index]!]));
      found.placed.push(...outcome.placed.map((each) => ({ ...each, place: byId.get(each.id)! })));
      found.refused.push(...outcome.refused.map((name) => byId.get(name)!));
      if (outcome.refused.length > 0) {
        found.explain ??= outcome.explain;
        found.squeezed.push({ spec, ...(pin && { pin }) });
      }
      return outcome;
    };
    if (first.node !== undefined) ask(group, { node: first.node, reason: "the slot's place" });
    else if (desired.bound) placeBound(context, desired.service, spec, group, ask, found);
    else placeMany(group, ask, found);
  }
  return found;
}

/** Whom to stop for what found no place: one or all of it at a time, as far as lower priorities and their budgets go. */
function evict({ view, scheduler }: EvaluateContext, id: string, { replicas }: Desired, { squeezed, refused }: Found): Assignment[] {
  const ids = new Set<string>();
  for (const { spec, pin } of squeezed) {
    const missing = pin ? 1 : refused.length;
    for (const victim of scheduler.makeRoom({ service: id, spec, replicas, missing, ...(pin && { pin }) })) ids.add(victim);
  }
  return [...ids].flatMap((victim) => view.assignments.get(victim)?.value ?? []);
}

function evictUnit({ view }: EvaluateContext, id: string, { service }: Desired, assignment: Assignment): Unit | undefined {
  const reason = `makes room for ${id.slice(id.indexOf('/') + 1)}, priority ${service.spec!.priority}`;
  const drainUs = assignment.spec ? drainUsOf(assignment.spec) : 0;
  return stopUnit(view, serviceId(assignment.key!), { assignment, reason, drainUs });
}

/** In portions: once one has found the nodes full, the rest need not be tried. */
function placeMany(
  group: readonly Place[],
  ask: (wanted: readonly Place[], pin: undefined) => PlaceOutcome,
  found: { refused: Place[] },
): void {
  for (let start = 0; start < group.length; start += placedAtOnce) {
    if (ask(group.slice(start, start + placedAtOnce), undefined).refused.length === 0) continue;
    found.refused.push(...group.slice(start + placedAtOnce));
    return;
  }
}

/** All that mount a named volume go where it is; the first one decides where that will be. */
function placeBound(
  { view, bound }: EvaluateContext,
  service: Service,
  spec: ServiceSpec,
  group: readonly Place[],
  ask: (wanted: readonly Place[], pin: PlaceRequest['pin']) => PlaceOutcome,
  found: { refused: Place[]; explain: Found['explain']; bindings: Map<string, Binding[]> },
): void {
  const volumes = namedVolumes(spec).map((name) => ({
    name,
    id: volumeId(service, name),
    entry: view.volumes.get(volumeId(service, name)),
  }));
  const free = volumes.filter(({ entry }) => !entry?.value.node);
  const settled = volumes.find(({ id, entry }) => entry?.value.node || bound.has(id));
  const elsewhere =
    settled && volumes.find(({ entry }) => entry?.value.node && settled.entry?.value.node && entry.value.node !== settled.entry.value.node);
  if (elsewhere) {
    const message = `volumes ${settled.name} and ${elsewhere.name} are on different nodes: ${settled.entry?.value.node} and ${elsewhere.entry?.value.node}`;
    found.refused.push(...group);
    found.explain ??= (since) => Refusal.create({ message, since });
    return;
  }
  const pinned = settled && { node: settled.entry?.value.node || bound.get(settled.id)!, reason: `the data of volume ${settled.name}` };
  const wanted = pinned ? group : group.slice(0, 1);
  const { placed } = ask(wanted, pinned);
  const [first] = placed;
  if (!first) return;
  for (const each of placed) found.bindings.set(each.id, free);
  for (const { id } of free) bound.set(id, first.node);
  if (pinned || group.length === 1) return;
  const rest = ask(group.slice(1), { node: first.node, reason: `the data of volume ${volumes[0]!.name}` });
  for (const each of rest.placed) found.bindings.set(each.id, free);
}

/** The refusal as it should stand; `keep` while the one that stands is fresh enough. */
function refusalOf(
  { view, explainedUs }: EvaluateContext,
  id: string,
  found: Found,
  nowUs: number,
): { refusal: Refusal; slots: number[] } | undefined | 'keep' {
  const standing = view.refusals.get(id)?.value;
  const since = standing?.refusal?.since ?? nowUs;
  if (!found.explain) {
    explainedUs.delete(id);
    return undefined;
  }
  const slots = found.refused.map(({ slot }) => slot).sort((a, b) => a - b);
  const fresh = nowUs - (explainedUs.get(id) ?? 0) < explainEveryUs;
  if (standing && fresh && standing.slots.length === slots.length) return 'keep';
  explainedUs.set(id, nowUs);
  return { refusal: found.explain(since), slots };
}
