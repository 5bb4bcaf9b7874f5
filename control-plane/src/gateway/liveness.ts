import { type Clock, GantryError, type Logger } from '@gantry/common';
import { Machine } from '@gantry/proto';
import type { ClusterView } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import type { Store } from '../store/store.ts';
import { everywhere, type LivenessRules, type Observed, planLiveness } from './liveness-plan.ts';
import type { EmitEvent } from './ports.ts';

export interface LivenessOptions {
  gateway: string;
  store: Store;
  view: ClusterView;
  clock: Clock;
  log: Logger;
  emit: EmitEvent;
  rules: LivenessRules;
  /** The node's session is over. */
  onSilent: (node: string, reason: string) => void;
}

/**
 * Watches over the nodes whose sessions this gateway holds, and over those that no living gateway holds. It goes by its own
 * monotonic clock alone; when this process itself stood still, everybody gets the full time again.
 */
export class Liveness {
  readonly #options: LivenessOptions;
  readonly #heard = new Map<string, number>();
  readonly #lost = new Map<string, number>();
  #brakes: ReadonlySet<string> = new Set();
  #cancel = () => {};
  #dueMs = 0;
  #writing: Promise<void> | undefined;
  #stopped = false;

  constructor(options: LivenessOptions) {
    this.#options = options;
    this.#schedule(options.clock.monotonicMs() + options.rules.heartbeatMs);
  }

  /** The node's agent has spoken. */
  heard(node: string): void {
    this.#heard.set(node, this.#options.clock.monotonicMs());
  }

  /** Zones in which too many nodes are silent to believe it. */
  get braked(): ReadonlySet<string> {
    return this.#brakes;
  }

  /** Takes note of nodes that have become ours to watch. */
  observe(): Observed[] {
    const { view, gateway, clock } = this.#options;
    const now = clock.monotonicMs();
    const observed: Observed[] = [];
    for (const [node, { value }] of view.machines) {
      const settings = view.nodes.get(node)?.value;
      const ours = value.gateway === gateway || !view.gateways.has(value.gateway);
      if (!settings || settings.removed || !ours) {
        this.#heard.delete(node);
        this.#lost.delete(node);
        continue;
      }
      if (!this.#heard.has(node)) this.#heard.set(node, now);
      if (value.lostAt === 0) this.#lost.delete(node);
      else if (!this.#lost.has(node)) this.#lost.set(node, now);
      const zone = settings.labels.zone ?? value.labels.zone ?? everywhere;
      const lostMs = this.#lost.get(node);
      observed.push({ node, zone, heardMs: this.#heard.get(node)!, ...(lostMs === undefined ? {} : { lostMs }) });
    }
    for (const node of this.#heard.keys()) if (!view.machines.has(node)) this.#heard.delete(node);
    return observed;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#writing;
  }

  #schedule(atMs: number): void {
    if (this.#stopped) return;
    this.#dueMs = atMs;
    this.#cancel = this.#options.clock.timer(Math.max(0, atMs - this.#options.clock.monotonicMs()), () => this.#tick());
  }

  #tick(): void {
    const { clock, rules, log } = this.#options;
    const now = clock.monotonicMs();
    if (now - this.#dueMs > rules.graceMs) {
      log.warn({ lateMs: Math.round(now - this.#dueMs) }, 'this process stood still: all nodes get their full time again');
      this.#heard.clear();
    }
    const plan = planLiveness(this.observe(), now, rules);
    this.#tellBrakes(plan.braked);
    if (plan.lost.length + plan.spared.length === 0) {
      this.#schedule(plan.nextMs);
      return;
    }
    this.#writing = this.#act(plan.lost, plan.spared).finally(() => this.#schedule(Math.min(plan.nextMs, now + rules.heartbeatMs)));
  }

  #tellBrakes(braked: ReadonlyMap<string, { silent: number; nodes: number }>): void {
    const { emit, log } = this.#options;
    for (const [zone, { silent, nodes }] of braked) {
      if (this.#brakes.has(zone)) continue;
      const message = `${silent} of ${nodes} nodes${zone === everywhere ? '' : ` of zone ${zone}`} are silent together: nothing is moved until it is clear why`;
      log.warn({ zone, silent, nodes }, 'too many nodes are silent together: no node is declared lost');
      emit({ type: 'EvictionBraked', message, severity: 1, subject: zone === everywhere ? 'cluster' : `zone/${zone}` });
    }
    this.#brakes = new Set(braked.keys());
  }

  async #act(lost: readonly string[], spared: readonly string[]): Promise<void> {
    try {
      for (const node of lost) await this.#declare(node, true);
      for (const node of spared) await this.#declare(node, false);
    } catch (error) {
      this.#options.log.warn({ err: GantryError.from(error).message }, 'cannot write that nodes are silent, will try again');
    }
  }

  async #declare(node: string, isLost: boolean): Promise<void> {
    const { store, view, clock, emit, log, onSilent, rules } = this.#options;
    const entry = view.machines.get(node);
    if (!entry || entry.value.lostAt > 0) return;
    // it may have spoken while the others were written
    const silentMs = clock.monotonicMs() - (this.#heard.get(node) ?? clock.monotonicMs());
    if (silentMs < rules.heartbeatMs * rules.missed) return;
    if (!isLost && entry.value.gateway === '') return;
    const machine = Machine.create({ ...entry.value, gateway: '', lostAt: isLost ? clock.nowUs() : 0 });
    const result = await store.transact({
      compare: [{ kind: 'modRevision', key: keys.machine(node), equals: entry.modRevision }],
      writes: [{ kind: 'put', key: keys.machine(node), value: Machine.encode(machine) }],
    });
    if (!result.succeeded) return;
    onSilent(node, `no heartbeat for ${Math.round(silentMs)} ms`);
    if (!isLost) return;
    log.warn({ node, silentMs: Math.round(silentMs) }, 'node is lost');
    emit({
      type: 'NodeLost',
      message: `node ${node} has been silent for ${(silentMs / 1000).toFixed(1)} s`,
      severity: 1,
      subject: `node/${node}`,
      node,
    });
  }
}
