import { type Clock, Code, GantryError, sleep, systemClock } from '@gantry/common';
import { type App, type Assignment, type Leader, NodeState, type Revision, type Service, type ServiceKey } from '@gantry/proto';
import { root } from '../store/keys.ts';
import type { ListResult, Store, StoreEvent, WatchBatch } from '../store/store.ts';
import { type Change, type CollectionName, type CollectionTypes, collections, type Entry, locate } from './collections.ts';
import type { ContainerRecord } from './container.ts';
import { Grouped } from './grouped.ts';

export type { Change, CollectionName, Entry } from './collections.ts';

/** Told of every batch of changes, in order, right after the view shows them. It must not throw or wait. */
export type ChangeListener = (changes: readonly Change[], revision: number) => void;

export interface ClusterViewOptions {
  store: Store;
  signal: AbortSignal;
  /** Told of records that cannot be read; the view keeps what it had before. */
  onUnreadable?: (key: string, error: GantryError) => void;
  clock?: Clock;
  /** Time between two comparisons of the whole view with the store; default 10 minutes. */
  auditMs?: number;
  /** Told of records that the watch had missed and a comparison has put right. */
  onMissed?: (keys: readonly string[]) => void;
}

const defaultAuditMs = 600_000;
/** Longest wait for changes that are on their way. */
const arrivalMs = 1000;

type Collections = { readonly [C in CollectionName]: ReadonlyMap<string, Entry<CollectionTypes[C]>> };
type MutableCollections = { readonly [C in CollectionName]: Map<string, Entry<CollectionTypes[C]>> };

interface Waiter {
  readonly revision: number;
  readonly resolve: () => void;
}

/** "ns/app/service", the id of a service in the view. */
export function serviceId(key: ServiceKey): string {
  return `${key.namespace}/${key.app}/${key.service}`;
}

/** "ns/app/service/0000000007", the id of a revision in the view. */
export function revisionId(key: ServiceKey, number: number): string {
  return `${serviceId(key)}/${String(number).padStart(10, '0')}`;
}

/** Everything before the last "/" of an id: a service's app, a revision's service. */
function parentOf(id: string): string {
  return id.slice(0, id.lastIndexOf('/'));
}

/**
 * The cluster as the store has it, in memory: one snapshot and one watch, decoded once, read-only to all others.
 * Configs, secrets and events are not in it.
 */
export class ClusterView implements Collections {
  readonly apps = new Map<string, Entry<App>>();
  readonly services = new Map<string, Entry<Service>>();
  readonly revisions = new Map<string, Entry<Revision>>();
  readonly scales: Collections['scales'] = new Map();
  readonly rollouts: Collections['rollouts'] = new Map();
  readonly rolloutRequests: Collections['rolloutRequests'] = new Map();
  /** By container id. */
  readonly assignments = new Map<string, Entry<Assignment>>();
  /** By container id. */
  readonly statuses: Collections['statuses'] = new Map();
  readonly refusals: Collections['refusals'] = new Map();
  readonly nodes: Collections['nodes'] = new Map();
  readonly machines: Collections['machines'] = new Map();
  readonly volumes: Collections['volumes'] = new Map();
  readonly operations: Collections['operations'] = new Map();
  readonly gateways: Collections['gateways'] = new Map();
  readonly tokens: Collections['tokens'] = new Map();
  readonly leader = new Map<string, Entry<Leader>>();
  /** Resolves once the first snapshot is in; rejects when the view ends before. */
  readonly synced: Promise<void>;

  readonly #byNode = new Grouped<Entry<Assignment>>();
  readonly #byService = new Grouped<Entry<Assignment>>();
  readonly #servicesByApp = new Grouped<Entry<Service>>();
  readonly #revisionsByService = new Grouped<Entry<Revision>>();
  readonly #listeners = new Set<ChangeListener>();
  readonly #waiters = new Set<Waiter>();
  readonly #onUnreadable: (key: string, error: GantryError) => void;
  #revision = 0;
  #firstRevision = 0;

  constructor(options: ClusterViewOptions) {
    this.#onUnreadable = options.onUnreadable ?? (() => {});
    this.synced = this.atLeast(1, options.signal);
    // whoever does not wait for it must not crash the process at the end
    this.synced.catch(() => {});
    void this.#follow(options.store, options.signal);
    void this.#audit(options);
  }

  /** Revision of the store that the view shows; 0 before the first snapshot. */
  get revision(): number {
    return this.#revision;
  }

  /** Revision of the first snapshot: what was removed before it is not known; 0 before it. */
  get firstRevision(): number {
    return this.#firstRevision;
  }

  /** Assignments on a node, by container id. */
  assignmentsOn(node: string): ReadonlyMap<string, Entry<Assignment>> {
    return this.#byNode.get(node);
  }

  /** Assignments of a service ("ns/app/service"), by container id. */
  assignmentsOf(service: string): ReadonlyMap<string, Entry<Assignment>> {
    return this.#byService.get(service);
  }

  /** Services of an app ("ns/app"), by their ids. */
  servicesOf(app: string): ReadonlyMap<string, Entry<Service>> {
    return this.#servicesByApp.get(app);
  }

  /** Revisions of a service ("ns/app/service"), oldest first. */
  revisionsOf(service: string): readonly Revision[] {
    return [...this.#revisionsByService.get(service).values()].map((entry) => entry.value).sort((a, b) => a.number - b.number);
  }

  /** Containers of a service ("ns/app/service"): assignment and status, in no special order. */
  containersOf(service: string): ContainerRecord[] {
    return [...this.assignmentsOf(service).values()].map((entry) => this.#record(entry.value));
  }

  /** One container by its full id. */
  container(id: string): ContainerRecord | undefined {
    const entry = this.assignments.get(id);
    return entry && this.#record(entry.value);
  }

  /**
   * `ready`: a living gateway holds its session. `lost`: its gateway declared it lost.
   * `unknown`: no session, and not yet (or never) declared lost; nothing new is placed there.
   */
  nodeState(name: string): NodeState {
    const machine = this.machines.get(name)?.value;
    if (!machine) return NodeState.unknown;
    if (machine.lostAt > 0) return NodeState.lost;
    return this.gateways.has(machine.gateway) ? NodeState.ready : NodeState.unknown;
  }

  /** Calls the listener after each batch of changes; the returned function ends that. */
  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Resolves once the view shows at least the revision: a caller then reads its own writes.
   * @throws what aborted the signal.
   */
  atLeast(revision: number, signal: AbortSignal): Promise<void> {
    if (this.#revision >= revision) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => () => {
        signal.removeEventListener('abort', onAbort);
        this.#waiters.delete(waiter);
        finish();
      };
      const waiter: Waiter = { revision, resolve: settle(resolve) };
      const onAbort = settle(() => reject(GantryError.from(signal.reason, Code.cancelled)));
      this.#waiters.add(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
    });
  }

  async #follow(store: Store, signal: AbortSignal): Promise<void> {
    for await (const batch of store.watch({ prefix: root, signal })) this.#accept(batch);
  }

  #accept(batch: WatchBatch): void {
    const changes = batch.snapshot ? this.#removedBy(new Set(batch.events.map((event) => event.key)), batch.revision) : [];
    for (const event of batch.events) {
      // a store may repeat changes after a reconnect: what is known already is dropped
      if (!batch.snapshot && event.modRevision <= this.#revision) continue;
      const change = this.#applyEvent(event);
      if (change) changes.push(change);
    }
    this.#revision = Math.max(this.#revision, batch.revision);
    if (this.#firstRevision === 0) this.#firstRevision = batch.revision;
    this.#tell(changes);
  }

  #tell(changes: readonly Change[]): void {
    if (changes.length > 0) for (const listener of this.#listeners) listener(changes, this.#revision);
    for (const waiter of this.#waiters) if (waiter.revision <= this.#revision) waiter.resolve();
  }

  /** Compares the view with the store from time to time: etcd 3.4 may lose events of a watch. */
  async #audit({ store, signal, clock = systemClock, auditMs = defaultAuditMs, onMissed }: ClusterViewOptions): Promise<void> {
    while (!signal.aborted) {
      try {
        await sleep(clock, auditMs, signal);
        await this.synced;
        const list = await store.list(root);
        // what is on its way is not missed; the revision may be of others' keys and never come
        await this.atLeast(list.revision, AbortSignal.any([signal, AbortSignal.timeout(arrivalMs)])).catch(() => {});
        const changes = this.#missed(list);
        if (changes.length > 0) onMissed?.(changes.map((change) => `${change.collection}/${change.id}`));
        this.#tell(changes);
      } catch {
        // the store does not answer, or the view ends: the next comparison is as good
      }
    }
  }

  /** Puts right what differs from a list of the store. */
  #missed({ items, revision }: ListResult): Change[] {
    const isPast = this.#revision > revision;
    const present: StoreEvent[] = [];
    for (const item of items) {
      const place = locate(root, item.key);
      // once the view is past the list, a record that it does not have may have been removed since
      if (place && !(isPast && !this[place.collection].has(place.id))) present.push({ kind: 'put', ...item });
    }
    const keys = new Set(items.map((item) => item.key));
    const removed = this.#removedBy(keys, revision);
    return [...removed, ...present.map((event) => this.#applyEvent(event)).filter((change) => change !== undefined)];
  }

  /** Records that are not among the keys of a snapshot at the revision. */
  #removedBy(present: ReadonlySet<string>, revision: number): Change[] {
    const changes: Change[] = [];
    for (const collection of Object.keys(collections) as CollectionName[]) {
      for (const entry of [...this[collection].values()]) {
        if (present.has(entry.key)) continue;
        const change = this.#applyEvent({ kind: 'delete', key: entry.key, modRevision: revision });
        if (change) changes.push(change);
      }
    }
    return changes;
  }

  #applyEvent(event: StoreEvent): Change | undefined {
    const place = locate(root, event.key);
    if (!place) return undefined;
    const { collection, id } = place;
    const map = (this as MutableCollections)[collection] as Map<string, Entry<object>>;
    const previous = map.get(id);
    if (previous?.key === event.key && previous.modRevision >= event.modRevision) return undefined;
    let entry: Entry<object> | undefined;
    if (event.kind === 'put') {
      const value = this.#decode(collection, event.key, event.value);
      if (!value) return undefined;
      entry = { key: event.key, value, createRevision: event.createRevision, modRevision: event.modRevision };
      map.set(id, entry);
    } else {
      if (previous?.key !== event.key) return undefined;
      map.delete(id);
    }
    this.#index(collection, id, previous, entry);
    return { collection, id, value: entry?.value, previous: previous?.value, modRevision: event.modRevision } as Change;
  }

  #decode(collection: CollectionName, key: string, bytes: Uint8Array): object | undefined {
    try {
      return collections[collection].codec.decode(bytes);
    } catch (error) {
      this.#onUnreadable(key, GantryError.from(error, Code.dataLoss));
      return undefined;
    }
  }

  #index(collection: CollectionName, id: string, before: Entry<object> | undefined, after: Entry<object> | undefined): void {
    if (collection === 'assignments') {
      const [old, now] = [before, after] as (Entry<Assignment> | undefined)[];
      if (old) {
        this.#byNode.delete(old.value.node, id);
        if (old.value.key) this.#byService.delete(serviceId(old.value.key), id);
      }
      if (now) {
        this.#byNode.set(now.value.node, id, now);
        if (now.value.key) this.#byService.set(serviceId(now.value.key), id, now);
      }
    } else if (collection === 'services') {
      regroup(this.#servicesByApp, id, after as Entry<Service> | undefined);
    } else if (collection === 'revisions') {
      regroup(this.#revisionsByService, id, after as Entry<Revision> | undefined);
    }
  }

  #record(assignment: Assignment): ContainerRecord {
    return { assignment, status: this.statuses.get(assignment.id)?.value };
  }
}

function regroup<T>(grouped: Grouped<T>, id: string, entry: T | undefined): void {
  if (entry) grouped.set(parentOf(id), id, entry);
  else grouped.delete(parentOf(id), id);
}
