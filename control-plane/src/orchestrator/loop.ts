import { backoffMs, Code, GantryError } from '@gantry/common';
import { Refusal } from '@gantry/proto';
import { announce } from './announce.ts';
import { type CommitOutcome, Committer, type Unit } from './commit.ts';
import { DirtySet } from './dirty.ts';
import { type EvaluateContext, type Evaluation, evaluate } from './evaluate.ts';
import type { Orchestrator, OrchestratorOptions } from './ports.ts';
import { finishAppUnit, refusalUnit } from './records.ts';

/** Services evaluated in one pass, and so committed together. */
const servicesAPass = 256;
/** Everything is looked at again this often, whatever was or was not heard. */
const relistMs = 10_000;
const retry = { minMs: 20, maxMs: 2000 };

/** Reconciles every service with what there is, until the term ends. Acts on changes of the view at once, and on timers only where time itself decides. */
export function startOrchestrator(options: OrchestratorOptions): Orchestrator {
  return new OrchestratorLoop(options);
}

class OrchestratorLoop implements Orchestrator {
  readonly stopped: Promise<void>;
  readonly #options: OrchestratorOptions;
  readonly #dirty: DirtySet;
  readonly #committer: Committer;
  readonly #explainedUs = new Map<string, number>();
  readonly #endedUs = new Map<string, number>();
  readonly #idlers = new Set<() => void>();
  #scheduled = false;
  #running = false;
  /** A commit's outcome is not known: nothing is planned until it is. */
  #unsettled: Unit[] = [];
  #mustSettle = false;
  #failures = 0;
  #cancelTimer = () => {};
  #ended = () => {};

  constructor(options: OrchestratorOptions) {
    this.#options = options;
    this.#dirty = new DirtySet(options.view);
    this.#committer = new Committer(options.store, options.fence);
    this.stopped = new Promise((resolve) => {
      this.#ended = resolve;
    });
    const { view, clock, signal, scheduler } = options;
    // An earlier term of this process may have ended between placing and committing.
    scheduler.reset();
    const unfollow = view.onChange((changes) => {
      this.#dirty.follow(changes);
      for (const { collection, id, value } of changes) if (collection === 'assignments' && !value) this.#endedUs.delete(id);
      this.#schedule();
    });
    let cancelRelist = () => {};
    const relist = () => {
      this.#dirty.markAll();
      this.#schedule();
      cancelRelist = clock.timer(relistMs, relist);
    };
    relist();
    const end = () => {
      unfollow();
      cancelRelist();
      this.#cancelTimer();
      if (!this.#running) this.#finish();
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  }

  idle(): Promise<void> {
    if (!this.#scheduled && !this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#idlers.add(resolve));
  }

  #finish(): void {
    this.#ended();
    this.#releaseIdlers();
  }

  #releaseIdlers(): void {
    for (const resolve of this.#idlers) resolve();
    this.#idlers.clear();
  }

  /** One pass after the present turn: what changes together is planned together, without waiting. */
  #schedule(): void {
    if (this.#scheduled || this.#running || this.#options.signal.aborted) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    const { signal, clock, log } = this.#options;
    if (signal.aborted) return;
    this.#running = true;
    let waitMs = 0;
    try {
      await this.#pass();
      this.#failures = 0;
    } catch (thrown) {
      const error = GantryError.from(thrown);
      if (!signal.aborted && this.#failures === 0) log.warn({ err: error.message }, 'cannot commit a plan, will try again');
      waitMs = backoffMs(this.#failures++, 0.5, retry);
    }
    this.#running = false;
    if (signal.aborted) {
      this.#finish();
      return;
    }
    this.#cancelTimer();
    const nextUs = this.#dirty.markDue(clock.nowUs());
    if (this.#dirty.size > 0 && waitMs === 0) {
      this.#schedule();
      return;
    }
    const timerMs = waitMs > 0 ? waitMs : Math.max(0, (nextUs - clock.nowUs()) / 1000);
    if (Number.isFinite(timerMs)) this.#cancelTimer = clock.timer(timerMs, () => this.#wake());
    this.#releaseIdlers();
  }

  #wake(): void {
    this.#dirty.markDue(this.#options.clock.nowUs());
    this.#schedule();
  }

  async #pass(): Promise<void> {
    if (this.#mustSettle) await this.#settle();
    const ids = this.#dirty.take(servicesAPass);
    const context = this.#context();
    const evaluations = new Map<string, Evaluation>();
    const units: Unit[] = [];
    for (const id of ids) {
      const evaluation = this.#evaluate(context, id);
      if (!evaluation) continue;
      evaluations.set(id, evaluation);
      units.push(...evaluation.units);
    }
    units.push(...this.#finishedApps());
    if (units.length > 0) {
      const outcome = await this.#committer.commit(units);
      await this.#follow(outcome, ids);
      const failed = new Set([...outcome.refused, ...outcome.unknown].map(({ service }) => service));
      for (const [id, { notes }] of evaluations) if (!failed.has(id)) announce(this.#options.emit, notes);
      if (outcome.error) throw outcome.error;
      if (outcome.refused.length > 0)
        throw new GantryError(Code.aborted, 'cannot commit a plan: what it was made on must stand, found it changed');
    }
  }

  #context(): EvaluateContext {
    const { view, scheduler, clock, newId } = this.#options;
    return {
      view,
      scheduler,
      clock,
      newId,
      bound: new Map(),
      explainedUs: this.#explainedUs,
      endedUs: (id, agentUs) => this.#seenEnded(id, agentUs),
    };
  }

  #seenEnded(id: string, agentUs: number): number {
    let seenUs = this.#endedUs.get(id);
    if (seenUs === undefined) {
      seenUs = this.#options.clock.nowUs();
      this.#endedUs.set(id, seenUs);
    }
    return Math.min(seenUs, agentUs);
  }

  /** A service that cannot be planned is set aside with the reason; the others go on. */
  #evaluate(context: EvaluateContext, id: string): Evaluation | undefined {
    const made: string[] = [];
    const newId = () => {
      const next = context.newId();
      made.push(next);
      return next;
    };
    try {
      const evaluation = evaluate({ ...context, newId }, id);
      this.#dirty.note(id, { ...evaluation, untilUs: evaluation.waitUntilUs });
      return evaluation;
    } catch (thrown) {
      const error = GantryError.from(thrown);
      const { view, clock, log, scheduler } = this.#options;
      for (const unused of made) scheduler.release(id, unused);
      const key = view.services.get(id)?.value.key;
      const standing = view.refusals.get(id)?.value.refusal;
      if (standing?.message !== error.message) log.error({ service: id, err: error }, 'cannot plan a service');
      if (!key) return undefined;
      const refusal = Refusal.create({ message: error.message, since: standing?.since ?? clock.nowUs() });
      const unit = refusalUnit(view, id, key, refusal, []);
      const notes = { key, plan: undefined, before: undefined, placed: [], refusal: error.message };
      return { units: unit ? [unit] : [], waitUntilUs: Number.POSITIVE_INFINITY, pending: false, waiting: false, notes };
    }
  }

  #finishedApps(): Unit[] {
    const { view } = this.#options;
    const units: Unit[] = [];
    for (const [id, entry] of view.apps) {
      if (entry.value.deletedAt > 0 && view.servicesOf(id).size === 0) units.push(finishAppUnit(id, entry));
    }
    return units;
  }

  /** Waits until the view shows what was written; what was not written is given back and looked at again. */
  async #follow(outcome: CommitOutcome, ids: readonly string[]): Promise<void> {
    const { view, scheduler, signal } = this.#options;
    for (const unit of outcome.refused) {
      for (const id of unit.places) scheduler.release(unit.service, id);
      this.#dirty.mark(unit.service);
    }
    if (outcome.unknown.length > 0) {
      this.#mustSettle = true;
      this.#unsettled.push(...outcome.unknown);
      for (const id of ids) this.#dirty.mark(id);
    }
    if (outcome.revision > 0) await view.atLeast(outcome.revision, signal);
  }

  /** Finds out what became of commits whose answer never came. */
  async #settle(): Promise<void> {
    const { view, scheduler, signal } = this.#options;
    await view.atLeast(await this.#committer.settle(), signal);
    for (const { service, places } of this.#unsettled) {
      for (const id of places) if (!view.assignments.has(id)) scheduler.release(service, id);
    }
    this.#unsettled = [];
    this.#mustSettle = false;
  }
}
