import type { RestartPolicy, ServiceSpec } from '@gantry/proto';
import { RestartPolicyCondition, ServiceSpecMode } from '@gantry/proto';
import type { Exit } from '../runtime/runtime.ts';

const defaultDelayMs = 1000;
const defaultMaxDelayMs = 300_000;
const defaultWindowMs = 600_000;

/** What follows the end of a main process, or a start that failed. */
export type RestartDecision =
  | { kind: 'complete'; reason: string }
  | { kind: 'restart'; delayMs: number; failures: number; reason: string }
  | { kind: 'failed' | 'rejected'; failures: number; reason: string };

/** The back-off after that many failures in a row (counted from 1), milliseconds. */
export function restartDelayMs(policy: RestartPolicy | null, failures: number): number {
  const first = policy?.delayUs ? policy.delayUs / 1000 : defaultDelayMs;
  const most = policy?.maxDelayUs ? policy.maxDelayUs / 1000 : defaultMaxDelayMs;
  return Math.min(Math.max(most, first), first * 2 ** Math.min(failures - 1, 30));
}

/** Failures in a row, this one included: a run of the policy's window forgets the earlier ones. */
function countFailure(policy: RestartPolicy | null, failures: number, ranUs: number): number {
  const windowMs = policy?.windowUs ? policy.windowUs / 1000 : defaultWindowMs;
  return ranUs / 1000 >= windowMs ? 1 : failures + 1;
}

function retryOrGiveUp(policy: RestartPolicy | null, failures: number, reason: string): RestartDecision {
  const most = policy?.maxAttempts ?? 0;
  if (most > 0 && failures > most) return { kind: 'failed', failures, reason: `${reason}; given up after ${most} restarts` };
  return { kind: 'restart', failures, reason, delayMs: restartDelayMs(policy, failures) };
}

function isJob(spec: ServiceSpec | null): boolean {
  return spec?.mode === ServiceSpecMode.replicated_job || spec?.mode === ServiceSpecMode.global_job;
}

export interface EndInput {
  spec: ServiceSpec | null;
  exit: Exit;
  /** Failures in a row before this one. */
  failures: number;
  /** Why it was ended from outside (an unhealthy container), else empty. */
  cause: string;
}

/** Decides by the service's restart policy what follows the end of the main process. */
export function afterExit({ spec, exit, failures, cause }: EndInput): RestartDecision {
  const policy = spec?.restart ?? null;
  const condition = policy?.condition ?? RestartPolicyCondition.any;
  const success = exit.exitCode === 0 && cause === '';
  const reason = cause || exitReason(exit);
  if (success && (isJob(spec) || condition !== RestartPolicyCondition.any)) return { kind: 'complete', reason };
  const counted = countFailure(policy, failures, exit.exitedAtUs - exit.startedAtUs);
  if (condition === RestartPolicyCondition.none) return { kind: 'failed', failures: counted, reason };
  return retryOrGiveUp(policy, counted, reason);
}

export interface StartFailureInput {
  spec: ServiceSpec | null;
  failures: number;
  reason: string;
  /** `retry`: it may work later; `reject`: this node can never run it. */
  verdict: 'retry' | 'reject';
}

/** Decides what follows a start that failed: nothing ran, so even a container that never restarts is tried again. */
export function afterStartFailure({ spec, failures, reason, verdict }: StartFailureInput): RestartDecision {
  if (verdict === 'reject') return { kind: 'rejected', failures: failures + 1, reason };
  return retryOrGiveUp(spec?.restart ?? null, failures + 1, reason);
}

/** "exit code 1", "killed by SIGSEGV", "out of memory". */
function exitReason(exit: Exit): string {
  if (exit.lost) return 'the process is gone and nobody saw its end (the node restarted, or its monitor was killed)';
  if (exit.oomKilled) return `out of memory (exit code ${exit.exitCode})`;
  if (exit.signal > 0) return `killed by signal ${exit.signal} (exit code ${exit.exitCode})`;
  return `exit code ${exit.exitCode}`;
}
