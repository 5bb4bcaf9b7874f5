import type { Probe } from '@gantry/proto';

/** A probe's settings with all defaults in place, in milliseconds. */
export interface ProbePlan {
  intervalMs: number;
  timeoutMs: number;
  /** Failures in a row that count as failing. */
  retries: number;
  /** After the start, failures count for nothing as long as there was no success. */
  startPeriodMs: number;
  /** Shortest wait between probes while the container has not answered yet. */
  firstMs: number;
}

/** Compose's defaults: interval 30 s, timeout 30 s, 3 retries, no start period. */
export function planOf(probe: Probe, cheap: boolean): ProbePlan {
  return {
    intervalMs: probe.intervalUs > 0 ? probe.intervalUs / 1000 : 30_000,
    timeoutMs: probe.timeoutUs > 0 ? probe.timeoutUs / 1000 : 30_000,
    retries: probe.retries > 0 ? probe.retries : 3,
    startPeriodMs: probe.startPeriodUs / 1000,
    firstMs: cheap ? 50 : 500,
  };
}

/**
 * Where a probe stands. `starting` has not succeeded yet; `passing` may have failures, but fewer than the retries.
 * A success leads to `passing` from everywhere; nothing leads back to `starting`.
 */
export type ProbeState =
  | { kind: 'starting'; sinceMs: number; attempts: number }
  | { kind: 'passing'; failures: number }
  | { kind: 'failing' };

export function startingState(nowMs: number): ProbeState {
  return { kind: 'starting', sinceMs: nowMs, attempts: 0 };
}

/** The state after a probe's result. */
export function advance(state: ProbeState, success: boolean, plan: ProbePlan, nowMs: number): ProbeState {
  if (success) return { kind: 'passing', failures: 0 };
  switch (state.kind) {
    case 'starting': {
      // Early probes come faster than the interval: it is the time that would have passed that decides.
      const deadlineMs = state.sinceMs + plan.startPeriodMs + plan.retries * plan.intervalMs;
      return nowMs >= deadlineMs ? { kind: 'failing' } : { ...state, attempts: state.attempts + 1 };
    }
    case 'passing':
      return state.failures + 1 >= plan.retries ? { kind: 'failing' } : { kind: 'passing', failures: state.failures + 1 };
    case 'failing':
      return state;
  }
}

/** Wait before the next probe: the interval; short and growing to a second while the container starts. */
export function nextDelayMs(state: ProbeState, plan: ProbePlan): number {
  if (state.kind !== 'starting') return plan.intervalMs;
  return Math.min(plan.intervalMs, 1000, plan.firstMs * 2 ** Math.min(state.attempts, 10));
}
