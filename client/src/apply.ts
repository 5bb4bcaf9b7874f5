import { backoffMs, type Clock, GantryError, newId, sleep, systemClock } from '@gantry/common';
import { ApplyRequest, type ApplyResponse, type AppSpec } from '@gantry/proto';
import { type Followed, type FollowOptions, follow, Outcome } from './follow.ts';
import type { GantryClient } from './gantry-client.ts';

export interface ApplyOptions extends FollowOptions {
  /** Returns as soon as the spec is stored. */
  detach?: boolean;
  /** Refuses when the app has changed since this revision (of a plan). */
  ifRevision?: number;
}

export interface ApplyResult extends Followed {
  response: ApplyResponse;
}

/** How long a mutation is tried again while no control plane answers. */
const retryMs = 5000;

/** Calls again while the cluster is unavailable, for 5 s at most; for calls that carry an idempotency key. */
export async function persist<T>(call: () => Promise<T>, signal?: AbortSignal, clock: Clock = systemClock): Promise<T> {
  const start = clock.monotonicMs();
  for (let attempt = 0; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      const failure = GantryError.from(error);
      if (!failure.retryable || signal?.aborted || clock.monotonicMs() - start >= retryMs) throw failure;
    }
    await sleep(clock, backoffMs(attempt, 0.5, { minMs: 100, maxMs: 1000 }), signal).catch((error: unknown) => {
      throw GantryError.from(error);
    });
  }
}

/**
 * Applies an app and follows it until every service is as asked for, or cannot be.
 * @throws GantryError when the app is refused, or no control plane answers.
 */
export async function applyAndWait(client: GantryClient, app: AppSpec, options: ApplyOptions = {}): Promise<ApplyResult> {
  const { timeoutMs = 300_000, signal, clock = systemClock, detach = false, ifRevision = 0 } = options;
  const start = clock.monotonicMs();
  const request = ApplyRequest.create({ requestId: newId(), app, ifRevision });
  const response = await persist(() => client.apps.apply(request, { deadlineMs: Math.min(timeoutMs, 30_000) }), signal, clock);
  if (detach) return { outcome: Outcome.detached, services: [], response };
  const goal = {
    namespace: app.namespace,
    app: app.name,
    services: new Set(app.services.map((service) => service.name)),
    exclusive: true,
    revision: response.revision,
  };
  const followed = await follow(client, goal, { ...options, timeoutMs: timeoutMs - (clock.monotonicMs() - start) });
  return { ...followed, response };
}
