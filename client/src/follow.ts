import { backoffMs, type Clock, GantryError, sleep, systemClock } from '@gantry/common';
import { RolloutState, ServiceSpecMode, type ServiceView, WatchServicesRequest } from '@gantry/proto';
import type { GantryClient } from './gantry-client.ts';

/** How a wait for services ended. */
export const Outcome = {
  /** All as asked for. */
  done: 'done',
  /** A new revision failed; the one before runs again. */
  rolledBack: 'rolled back',
  /** A revision failed and there is none to go back to, or going back failed too. */
  failed: 'failed',
  /** A container has no place. */
  notPlaced: 'not placed',
  /** The time was over; the cluster goes on. */
  deadline: 'deadline',
  /** The signal came; the cluster goes on. */
  detached: 'detached',
  /** The roll is paused, by a user or after a failure. */
  paused: 'paused',
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

export interface FollowOptions {
  /** Default 300000. */
  timeoutMs?: number | undefined;
  /** Detaches: what was asked for goes on. */
  signal?: AbortSignal | undefined;
  /** Told of the watched services after every change. */
  onProgress?: ((services: readonly ServiceView[]) => void) | undefined;
  /** How long a container must be without a place before the wait ends with `notPlaced`. Default 3000. */
  notPlacedAfterMs?: number | undefined;
  clock?: Clock | undefined;
}

/** What is waited for. */
export interface Goal {
  readonly namespace: string;
  readonly app: string;
  /** Names of the services that must be settled. */
  readonly services: ReadonlySet<string>;
  /** Whether services of the app that are not named must be gone. */
  readonly exclusive?: boolean;
  /** Views of an older revision of the store say nothing yet. */
  readonly revision?: number;
  /** What must hold of each beside being settled. */
  readonly holds?: (view: ServiceView) => boolean;
  /** Whether a roll-back of before is all right: the wait is for something else. */
  readonly anyRollout?: boolean;
}

export interface Followed {
  outcome: Outcome;
  /** The services as they were last seen. */
  services: ServiceView[];
}

/** Whether a service is what was asked for (the revision before it, after a roll-back), and nothing old is left of it. */
export function isSettled({ service, rollout, desired, ready, updated, containers }: ServiceView): boolean {
  if (!service || service.deletedAt > 0 || !rollout || rollout.toRevision !== service.generation) return false;
  if (rollout.state !== RolloutState.completed && rollout.state !== RolloutState.rolled_back) return false;
  const mode = service.spec?.mode;
  if (mode === ServiceSpecMode.replicated_job || mode === ServiceSpecMode.global_job) return true;
  return ready === desired && updated >= desired && containers === desired;
}

/** How the rollout of a service's present revision ended, other than well. */
function badEnd({ rollout, service }: ServiceView): Outcome | undefined {
  if (!rollout || rollout.toRevision !== service?.generation) return undefined;
  switch (rollout.state) {
    case RolloutState.rolled_back:
      return Outcome.rolledBack;
    case RolloutState.failed:
      return Outcome.failed;
    case RolloutState.paused:
      return Outcome.paused;
    default:
      return undefined;
  }
}

const hasNoPlace = (view: ServiceView): boolean => view.refusal !== null && view.pending > 0;

/** Waits until the goal is reached or cannot be; goes on over a control plane that dies and comes back. */
export async function follow(client: GantryClient, goal: Goal, options: FollowOptions = {}): Promise<Followed> {
  const { timeoutMs = 300_000, signal, clock = systemClock } = options;
  const follower = new Follower(client, goal, options);
  const deadline = clock.monotonicMs() + timeoutMs;
  for (let attempt = 0; ; attempt++) {
    const remainingMs = deadline - clock.monotonicMs();
    if (signal?.aborted) return follower.end(Outcome.detached);
    if (remainingMs <= 0) return follower.end(follower.isRefused ? Outcome.notPlaced : Outcome.deadline);
    const outcome = await follower.watch(remainingMs);
    if (outcome !== undefined) return follower.end(outcome);
    const pause = Math.min(remainingMs, backoffMs(attempt, 0.5, { minMs: 100, maxMs: 2000 }));
    await sleep(clock, pause, signal).catch(() => undefined); // the loop sees the signal
  }
}

class Follower {
  readonly #client: GantryClient;
  readonly #goal: Goal;
  readonly #options: FollowOptions;
  readonly #clock: Clock;
  #views = new Map<string, ServiceView>();
  #refusedSince: number | undefined;

  constructor(client: GantryClient, goal: Goal, options: FollowOptions) {
    this.#client = client;
    this.#goal = goal;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  get isRefused(): boolean {
    return this.#refusedSince !== undefined;
  }

  end(outcome: Outcome): Followed {
    return { outcome, services: this.#shown() };
  }

  /** One stream; undefined when it ended before there was an outcome. */
  async watch(remainingMs: number): Promise<Outcome | undefined> {
    const { signal } = this.#options;
    const ended = new AbortController();
    const stop = () => ended.abort();
    signal?.addEventListener('abort', stop, { once: true });
    const cancelLimit = this.#clock.timer(remainingMs, stop);
    let cancelPatience = () => {};
    try {
      let synced = false;
      this.#views = new Map();
      const { namespace, app } = this.#goal;
      for await (const event of this.#client.services.watch(WatchServicesRequest.create({ namespace, app }), { signal: ended.signal })) {
        synced ||= event.synced;
        const name = event.service?.service?.key?.service;
        if (name !== undefined && event.removed) this.#views.delete(name);
        else if (name !== undefined) this.#views.set(name, event.service!);
        if (!synced || event.revision < (this.#goal.revision ?? 0)) continue;
        this.#options.onProgress?.(this.#shown());
        const outcome = this.#judge();
        if (outcome !== undefined) return outcome;
        cancelPatience();
        if (this.#refusedSince !== undefined) cancelPatience = this.#clock.timer(this.#patienceLeft(), stop);
      }
      return undefined;
    } catch (error) {
      if (signal?.aborted) return Outcome.detached;
      if (ended.signal.aborted) return this.#judge();
      const failure = GantryError.from(error);
      if (failure.retryable) return undefined;
      throw failure;
    } finally {
      cancelLimit();
      cancelPatience();
      signal?.removeEventListener('abort', stop);
    }
  }

  /** The services that are waited for, and those that must go. */
  #shown(): ServiceView[] {
    return [...this.#views].flatMap(([name, view]) => (this.#goal.exclusive || this.#goal.services.has(name) ? [view] : []));
  }

  #patienceLeft(): number {
    const patience = this.#options.notPlacedAfterMs ?? 3000;
    return this.#refusedSince === undefined ? patience : this.#refusedSince + patience - this.#clock.monotonicMs();
  }

  #judge(): Outcome | undefined {
    const { services, holds = () => true } = this.#goal;
    const shown = this.#shown();
    const ours = shown.filter((view) => services.has(view.service?.key?.service ?? ''));
    const bad = this.#goal.anyRollout ? undefined : ours.map(badEnd).find((outcome) => outcome !== undefined);
    if (bad !== undefined) return bad;
    const complete = ours.length === services.size && shown.length === ours.length;
    if (complete && ours.every((view) => holds(view) && isSettled(view))) return Outcome.done;
    if (!ours.some(hasNoPlace)) this.#refusedSince = undefined;
    else this.#refusedSince ??= this.#clock.monotonicMs();
    // timers may fire a little early
    return this.#refusedSince !== undefined && this.#patienceLeft() <= 1 ? Outcome.notPlaced : undefined;
  }
}
