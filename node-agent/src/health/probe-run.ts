import { type Clock, GantryError } from '@gantry/common';
import { type Probe, ProbeType } from '@gantry/proto';
import type { Agenda } from './agenda.ts';
import type { Connector } from './connector.ts';
import { advance, nextDelayMs, type ProbePlan, type ProbeState, planOf, startingState } from './probe-state.ts';
import type { ProbeTarget } from './prober.ts';

export interface ProbeRunOptions {
  clock: Clock;
  agenda: Agenda;
  connector: Connector;
  /** Bounds how many probes run at the same time. */
  limit: <T>(task: () => Promise<T>) => Promise<T>;
  probe: Probe;
  target: ProbeTarget;
  /** Whether it was passing when the container was found; undefined for one that just started. */
  passing: boolean | undefined;
  /** 0..1, spreads the first probes of containers that start together. */
  phase: number;
  onResult: () => void;
}

/** Rejects when the signal aborts: an `exec` that does not obey it must not hold the probe up. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

/** One probe of one container, again and again until it is stopped. */
export class ProbeRun {
  readonly #options: ProbeRunOptions;
  readonly #plan: ProbePlan;
  #stopped = false;
  /** Of the attempt that is on its way. */
  #attempting: AbortController | undefined;
  #cancel: () => void;
  #state: ProbeState;
  #reason = '';

  constructor(options: ProbeRunOptions) {
    const { probe, clock, agenda, passing, phase } = options;
    this.#options = options;
    this.#plan = planOf(probe, probe.type !== ProbeType.exec);
    this.#state = startingState(clock.monotonicMs());
    if (passing !== undefined) this.#state = passing ? { kind: 'passing', failures: 0 } : { kind: 'failing' };
    const firstMs = passing === undefined ? nextDelayMs(this.#state, this.#plan) : Math.min(this.#plan.intervalMs, 1000);
    this.#cancel = agenda.after(firstMs * (0.5 + phase / 2), () => void this.#probe());
  }

  get kind(): ProbeState['kind'] {
    return this.#state.kind;
  }

  /** Why the last probe failed; empty when it did not. */
  get reason(): string {
    return this.#reason;
  }

  stop(): void {
    this.#cancel();
    this.#stopped = true;
    this.#attempting?.abort(new Error('stopped'));
  }

  async #probe(): Promise<void> {
    const { clock, agenda, limit, onResult } = this.#options;
    const startedMs = clock.monotonicMs();
    const reason = await limit(() => this.#attempt());
    if (this.#stopped) return;
    this.#state = advance(this.#state, reason === '', this.#plan, clock.monotonicMs());
    this.#reason = reason;
    // From start to start, so that a slow answer does not slow the rhythm.
    const delayMs = Math.max(0, nextDelayMs(this.#state, this.#plan) - (clock.monotonicMs() - startedMs));
    this.#cancel = agenda.after(delayMs, () => void this.#probe());
    onResult();
  }

  /** Runs the probe once; gives why it failed, or nothing. */
  async #attempt(): Promise<string> {
    if (this.#stopped) return '';
    const attempting = new AbortController();
    this.#attempting = attempting;
    const { timeoutMs } = this.#plan;
    const cancelTimer = this.#options.agenda.after(timeoutMs, () => attempting.abort(new Error(`no answer within ${timeoutMs} ms`)));
    try {
      return await this.#ask(attempting.signal);
    } catch (error) {
      const { aborted, reason } = attempting.signal;
      return `${this.#name()}: ${aborted ? (reason as Error).message : GantryError.from(error).message}`;
    } finally {
      cancelTimer();
      this.#attempting = undefined;
    }
  }

  async #ask(signal: AbortSignal): Promise<string> {
    const { probe, target, connector } = this.#options;
    switch (probe.type) {
      case ProbeType.http:
        await connector.http(target.address, probe.port, probe.path, signal);
        return '';
      case ProbeType.tcp:
        await connector.tcp(target.address, probe.port, signal);
        return '';
      default: {
        const exitCode = await Promise.race([target.exec(probe.command, signal), aborted(signal)]);
        return exitCode === 0 ? '' : `${this.#name()}: exit code ${exitCode}`;
      }
    }
  }

  #name(): string {
    const { probe } = this.#options;
    if (probe.type === ProbeType.http) return `http ${probe.port}${probe.path.slice(0, 100)}`;
    if (probe.type === ProbeType.tcp) return `tcp ${probe.port}`;
    return `exec ${(probe.command[0] ?? '').slice(0, 100)}`;
  }
}
