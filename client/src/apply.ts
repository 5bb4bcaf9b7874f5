import { GantryError, newId } from '@gantry/common';
import {
  ApplyRequest,
  type ApplyResponse,
  type AppSpec,
  RolloutState,
  ServiceSpecMode,
  type ServiceView,
  WatchServicesRequest,
} from '@gantry/proto';
import type { GantryClient } from './gantry-client.ts';

/** How an apply ended; the numbers are the exit codes of `gantry apply`. */
export const ApplyOutcome = { done: 0, rolledBack: 2, notPlaced: 3, deadline: 4, detached: 5 } as const;
export type ApplyOutcome = (typeof ApplyOutcome)[keyof typeof ApplyOutcome];

export interface ApplyResult {
  outcome: ApplyOutcome;
  response: ApplyResponse;
  /** The services as they were last seen. */
  services: ServiceView[];
}

export interface ApplyOptions {
  /** Default 300000. */
  timeoutMs?: number;
  /** Detaches: what was applied goes on. */
  signal?: AbortSignal;
  /** Told of every change of a service, with all services of the app. */
  onProgress?: (services: readonly ServiceView[]) => void;
  /** How long a service must be without a place before the apply ends with `notPlaced`. Default 3000. */
  notPlacedAfterMs?: number;
  ifRevision?: number;
}

/** Whether a service is what was asked for, and nothing old is left of it. */
export function isSettled(view: ServiceView): boolean {
  if (rolloutUnderWay(view)) return false;
  const mode = view.service?.spec?.mode;
  if (mode === ServiceSpecMode.replicated_job || mode === ServiceSpecMode.global_job) return view.running + view.pending === 0;
  return view.ready === view.desired && view.updated >= view.desired && view.containers === view.desired;
}

function rolloutUnderWay(view: ServiceView): boolean {
  const state = view.rollout?.state ?? RolloutState.idle;
  return state === RolloutState.updating || state === RolloutState.rolling_back;
}

function isRolledBack(view: ServiceView): boolean {
  const rollout = view.rollout;
  if (!rollout) return false;
  return (
    (rollout.state === RolloutState.rolled_back || rollout.state === RolloutState.failed) && rollout.toRevision === view.service?.generation
  );
}

/** Applies an app and follows it until every service is as asked for, or cannot be. */
export async function applyAndWait(client: GantryClient, app: AppSpec, options: ApplyOptions = {}): Promise<ApplyResult> {
  const { timeoutMs = 300_000, signal, onProgress, notPlacedAfterMs = 3000, ifRevision = 0 } = options;
  const deadline = performance.now() + timeoutMs;
  const response = await client.apps.apply(ApplyRequest.create({ requestId: newId(), app, ifRevision }), {
    deadlineMs: Math.min(timeoutMs, 30_000),
  });
  const wanted = new Set(app.services.map((service) => service.name));
  const follower = new Follower(client, app, wanted, response.revision, onProgress ?? (() => undefined));
  for (;;) {
    const remaining = deadline - performance.now();
    if (remaining <= 0) return { outcome: ApplyOutcome.deadline, response, services: follower.services };
    if (signal?.aborted) return { outcome: ApplyOutcome.detached, response, services: follower.services };
    const outcome = await follower.follow(remaining, notPlacedAfterMs, signal);
    if (outcome !== undefined) return { outcome, response, services: follower.services };
  }
}

/** Watches the services of an app; `follow` returns undefined when the stream ended early and is to be opened again. */
class Follower {
  readonly #client: GantryClient;
  readonly #app: AppSpec;
  readonly #wanted: ReadonlySet<string>;
  readonly #revision: number;
  readonly #progress: (services: readonly ServiceView[]) => void;
  #views = new Map<string, ServiceView>();
  #refusedSince: number | undefined;

  constructor(
    client: GantryClient,
    app: AppSpec,
    wanted: ReadonlySet<string>,
    revision: number,
    progress: (services: readonly ServiceView[]) => void,
  ) {
    this.#client = client;
    this.#app = app;
    this.#wanted = wanted;
    this.#revision = revision;
    this.#progress = progress;
  }

  get services(): ServiceView[] {
    return [...this.#views.values()];
  }

  async follow(remainingMs: number, notPlacedAfterMs: number, signal: AbortSignal | undefined): Promise<ApplyOutcome | undefined> {
    const { namespace, name: app } = this.#app;
    const ended = new AbortController();
    const stop = () => ended.abort();
    signal?.addEventListener('abort', stop, { once: true });
    const limit = setTimeout(stop, remainingMs);
    let patience: NodeJS.Timeout | undefined;
    try {
      let synced = false;
      this.#views = new Map();
      for await (const event of this.#client.services.watch(WatchServicesRequest.create({ namespace, app }), { signal: ended.signal })) {
        synced ||= event.synced;
        const name = event.service?.service?.key?.service;
        if (name !== undefined) this.#note(name, event.removed ? undefined : event.service!);
        if (!synced || event.revision < this.#revision) continue;
        this.#progress(this.services);
        const outcome = this.#judge(notPlacedAfterMs);
        if (outcome !== undefined) return outcome;
        clearTimeout(patience);
        if (this.#refusedSince !== undefined) patience = setTimeout(stop, notPlacedAfterMs);
      }
      return undefined;
    } catch (error) {
      const failure = GantryError.from(error);
      if (signal?.aborted) return ApplyOutcome.detached;
      if (ended.signal.aborted) return this.#judge(notPlacedAfterMs);
      if (failure.retryable) return undefined;
      throw failure;
    } finally {
      clearTimeout(limit);
      clearTimeout(patience);
      signal?.removeEventListener('abort', stop);
    }
  }

  #note(name: string, view: ServiceView | undefined): void {
    if (view) this.#views.set(name, view);
    else this.#views.delete(name);
  }

  #judge(notPlacedAfterMs: number): ApplyOutcome | undefined {
    const ours = this.services.filter((view) => this.#wanted.has(view.service?.key?.service ?? ''));
    if (ours.some(isRolledBack)) return ApplyOutcome.rolledBack;
    if (ours.length === this.#wanted.size && this.#views.size === ours.length && ours.every(isSettled)) return ApplyOutcome.done;
    const refused = ours.some((view) => view.refusal !== null && view.pending > 0);
    if (!refused) this.#refusedSince = undefined;
    else this.#refusedSince ??= performance.now();
    if (this.#refusedSince !== undefined && performance.now() - this.#refusedSince >= notPlacedAfterMs - 5) return ApplyOutcome.notPlaced;
    return undefined;
  }
}
