import {
  Assignment,
  AssignmentDesired,
  type NodeScore,
  type Refusal,
  RefusalRecord,
  Rollout,
  type Service,
  type ServiceKey,
  Volume,
} from '@gantry/proto';
import type { ClusterView, Entry } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import type { Comparison, Write } from '../store/store.ts';
import type { Unit } from './commit.ts';
import type { Desired } from './desired.ts';
import type { Place, Renumber, Stop } from './steps.ts';

/** A container to be made, with the node that was found for it. */
export interface PlacedContainer {
  readonly id: string;
  readonly node: string;
  readonly scores: NodeScore[];
  readonly place: Place;
}

/** A volume that the first container binds to its node. */
export interface Binding {
  readonly name: string;
  readonly entry: Entry<Volume> | undefined;
}

const unchanged = (entry: Entry<unknown>): Comparison => ({ kind: 'modRevision', key: entry.key, equals: entry.modRevision });
const put = (key: string, value: Uint8Array): Write => ({ kind: 'put', key, value });
const drop = (key: string): Write => ({ kind: 'delete', key });

/** The assignment of a new container, planned on the service as it stands and on volumes that nobody has bound since. */
export function placeUnit(
  desired: Desired,
  service: Entry<Service>,
  id: string,
  placed: PlacedContainer,
  bindings: readonly Binding[],
  nowUs: number,
): Unit {
  const { place, node, scores } = placed;
  const revision = desired.revisions.get(place.revision);
  const spec = revision?.spec ?? service.value.spec;
  const assignment = Assignment.create({
    id: placed.id,
    key: service.value.key,
    slot: place.slot,
    node,
    revision: place.revision,
    desired: AssignmentDesired.run,
    createdAt: nowUs,
    reason: place.reason,
    spec,
    replaces: place.replaces,
    serviceUid: service.value.uid,
    fileDigests: revision?.fileDigests ?? {},
    reservation: spec?.reservation ?? null,
    restartGeneration: desired.request?.restartGeneration ?? 0,
    scores,
    failures: place.failures,
  });
  const writes = [put(keys.assignment(node, placed.id), Assignment.encode(assignment))];
  const compare = [unchanged(service)];
  for (const { name, entry } of bindings) {
    const { namespace, app } = service.value.key!;
    const key = keys.volume(namespace, app, name);
    const volume = entry?.value ?? Volume.create({ namespace, app, spec: { name, labels: {}, singleWriter: false }, createdAt: nowUs });
    writes.push(put(key, Volume.encode({ ...volume, node })));
    compare.push({ kind: 'modRevision', key, equals: entry?.modRevision ?? 0 });
  }
  return { service: id, writes, compare, places: [placed.id] };
}

/** Tells a container to stop; void when somebody else has changed its assignment. */
export function stopUnit(view: ClusterView, service: string, { assignment, reason, drainUs }: Stop): Unit | undefined {
  return rewrite(view, service, { ...assignment, desired: AssignmentDesired.stop, reason, drainUs });
}

/** The same container under the number of a revision that gives the same container. */
export function renumberUnit(view: ClusterView, service: string, { assignment, revision }: Renumber, desired: Desired): Unit | undefined {
  return rewrite(view, service, { ...assignment, revision, spec: desired.revisions.get(revision)?.spec ?? assignment.spec });
}

function rewrite(view: ClusterView, service: string, assignment: Assignment): Unit | undefined {
  const entry = view.assignments.get(assignment.id);
  if (!entry) return undefined;
  return { service, writes: [put(entry.key, Assignment.encode(assignment))], compare: [unchanged(entry)], places: [] };
}

/** Forgets a container of which nothing runs. */
export function removeUnit(service: string, { node, id }: Assignment): Unit {
  return { service, writes: [drop(keys.assignment(node, id)), drop(keys.status(node, id))], compare: [], places: [] };
}

/** The rollout's new record. */
export function rolloutUnit(view: ClusterView, service: string, key: ServiceKey, rollout: Rollout): Unit {
  const entry = view.rollouts.get(service);
  const compare: Comparison = { kind: 'modRevision', key: keys.rollout(key), equals: entry?.modRevision ?? 0 };
  return { service, writes: [put(keys.rollout(key), Rollout.encode({ ...rollout, key }))], compare: [compare], places: [] };
}

/** Notes, changes or removes the refusal of a service's pending containers; undefined when it stands already. */
export function refusalUnit(
  view: ClusterView,
  service: string,
  key: ServiceKey,
  refusal: Refusal | undefined,
  slots: number[],
): Unit | undefined {
  const entry = view.refusals.get(service);
  if (!refusal) return entry && { service, writes: [drop(keys.refusal(key))], compare: [], places: [] };
  const value = RefusalRecord.encode(RefusalRecord.create({ key, refusal, slots }));
  if (entry && Buffer.compare(RefusalRecord.encode(entry.value), value) === 0) return undefined;
  return { service, writes: [put(keys.refusal(key), value)], compare: [], places: [] };
}

/** Revisions that one transaction may remove beside a service's other records. */
const revisionsAtOnce = 100;

/** Removes a deleted service's own records; its revisions first when there are very many of them. */
export function finishUnit(view: ClusterView, service: string, entry: Entry<Service>): Unit {
  const key = entry.value.key!;
  const revisions = view.revisionsOf(service).map(({ number }) => drop(keys.revision(key, number)));
  const compare = [unchanged(entry)];
  if (revisions.length > revisionsAtOnce) return { service, writes: revisions.slice(0, revisionsAtOnce), compare, places: [] };
  const writes = [keys.service(key), keys.scale(key), keys.rollout(key), keys.rolloutRequest(key), keys.refusal(key)].map(drop);
  return { service, writes: [...writes, ...revisions], compare, places: [] };
}

/** Removes the record of a deleted app whose last service is gone. */
export function finishAppUnit(app: string, entry: Entry<unknown>): Unit {
  return { service: app, writes: [drop(entry.key)], compare: [unchanged(entry)], places: [] };
}
