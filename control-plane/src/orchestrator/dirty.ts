import { AssignmentDesired, ContainerState, type ContainerStatus, ServiceSpecMode } from '@gantry/proto';
import type { Change, ClusterView } from '../cluster/view.ts';
import { serviceId } from '../cluster/view.ts';

/** Which services must be looked at again, and which wait for something. */
export class DirtySet {
  readonly #view: ClusterView;
  readonly #dirty = new Set<string>();
  /** Services with containers that have no place. */
  readonly #pending = new Set<string>();
  /** Of those, the ones whose place depends on where others are. */
  readonly #drawn = new Set<string>();
  /** Services that wait for others of their app. */
  readonly #waiting = new Set<string>();
  readonly #timers = new Map<string, number>();

  constructor(view: ClusterView) {
    this.#view = view;
  }

  get size(): number {
    return this.#dirty.size;
  }

  mark(id: string): void {
    this.#dirty.add(id);
  }

  /** Every service, and every one that only containers are left of. */
  markAll(): void {
    for (const id of this.#view.services.keys()) this.#dirty.add(id);
    for (const { value } of this.#view.assignments.values()) if (value.key) this.#dirty.add(serviceId(value.key));
  }

  /** Takes what is to be evaluated now, the highest priority first. */
  take(atMost: number): string[] {
    const priority = (id: string): number => this.#view.services.get(id)?.value.spec?.priority ?? 0;
    const taken = [...this.#dirty].sort((a, b) => priority(b) - priority(a)).slice(0, atMost);
    for (const id of taken) this.#dirty.delete(id);
    return taken;
  }

  /** Notes what an evaluation waits for. */
  note(id: string, waits: { pending: boolean; waiting: boolean; untilUs: number }): void {
    put(this.#pending, id, waits.pending);
    const affinities = this.#view.services.get(id)?.value.spec?.placement?.affinities ?? [];
    put(this.#drawn, id, waits.pending && affinities.length > 0);
    put(this.#waiting, id, waits.waiting);
    if (Number.isFinite(waits.untilUs)) this.#timers.set(id, waits.untilUs);
    else this.#timers.delete(id);
  }

  /** Marks the services whose time has come; returns when the next one's comes, infinite for never. */
  markDue(nowUs: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const [id, atUs] of this.#timers) {
      if (atUs > nowUs) next = Math.min(next, atUs);
      else {
        this.#timers.delete(id);
        this.#dirty.add(id);
      }
    }
    return next;
  }

  /** Marks what changes of the view may concern. */
  follow(changes: readonly Change[]): void {
    for (const change of changes) this.#followOne(change);
  }

  #followOne(change: Change): void {
    switch (change.collection) {
      case 'services':
      case 'scales':
      case 'rollouts':
      case 'rolloutRequests':
        this.#markWithDependents(change.id);
        return;
      case 'revisions':
        this.mark(change.id.slice(0, change.id.lastIndexOf('/')));
        return;
      case 'assignments': {
        const key = (change.value ?? change.previous)?.key;
        if (key) this.#markWithDependents(serviceId(key));
        if (!change.value) this.#markPending();
        else if (!change.previous) for (const id of this.#drawn) this.mark(id);
        return;
      }
      case 'statuses': {
        const key = this.#view.assignments.get(change.id)?.value.key;
        if (key) this.#markWithDependents(serviceId(key));
        if (change.value && this.#hasEnded(change.id, change.value)) this.#markPending();
        return;
      }
      case 'nodes':
      case 'machines':
        this.#markNode(change.id);
        return;
      case 'gateways':
        this.#markGlobal();
        this.#markPending();
        return;
      case 'volumes':
        this.#markPending();
        return;
      default:
    }
  }

  /** Gives its room back: what waits for room must be planned with, and by its priority before, what was stopped for it. */
  #hasEnded(id: string, { final, state }: ContainerStatus): boolean {
    if (final) return true;
    return state >= ContainerState.complete && this.#view.assignments.get(id)?.value.desired === AssignmentDesired.stop;
  }

  #markWithDependents(id: string): void {
    this.mark(id);
    for (const other of this.#waiting) if (sameApp(other, id)) this.mark(other);
  }

  #markNode(name: string): void {
    for (const { value } of this.#view.assignmentsOn(name).values()) if (value.key) this.mark(serviceId(value.key));
    this.#markGlobal();
    this.#markPending();
  }

  #markGlobal(): void {
    for (const [id, { value }] of this.#view.services) {
      const mode = value.spec?.mode;
      if (mode === ServiceSpecMode.global || mode === ServiceSpecMode.global_job) this.mark(id);
    }
  }

  #markPending(): void {
    for (const id of this.#pending) this.mark(id);
  }
}

function put(set: Set<string>, id: string, wanted: boolean): void {
  if (wanted) set.add(id);
  else set.delete(id);
}

function sameApp(left: string, right: string): boolean {
  return left.slice(0, left.lastIndexOf('/')) === right.slice(0, right.lastIndexOf('/'));
}
