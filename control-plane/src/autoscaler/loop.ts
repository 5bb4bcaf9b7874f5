import { Code, GantryError, startLoop } from '@gantry/common';
import { AssignmentDesired, ContainerState, Scale, type Service, ServiceSpecMode } from '@gantry/proto';
import { keys } from '../store/keys.ts';
import { type AutoscaleDecision, planAutoscale, type Recommendation, type Sample } from './plan.ts';
import type { AutoscalerOptions } from './ports.ts';

/** Services are looked at this often; what they use is reported every 5 s. */
const intervalMs = 1000;
/** A measurement that has not changed for so long is none. */
const freshMs = 15_000;
/** What a container uses while it starts says nothing about load. */
const warmUpMs = 5000;

/** A running autoscaler. */
export interface Autoscaler {
  /** Looks at all services now: new measurements have come. */
  trigger(): void;
  /** Resolves when it has ended, after the signal. */
  readonly stopped: Promise<void>;
}

/** Keeps the replica targets of services that scale by use, until the term ends. */
export function startAutoscaler(options: AutoscalerOptions): Autoscaler {
  const scaler = new ServiceScaler(options);
  const loop = startLoop({
    name: 'autoscaler',
    clock: options.clock,
    intervalMs,
    run: async (signal) => {
      await scaler.pass(signal);
      return undefined;
    },
    onError: (error) => options.log.warn({ err: GantryError.from(error).message }, 'cannot scale, will try again'),
  });
  const stopped = new Promise<void>((resolve) => {
    const end = () => void loop.stop().then(resolve);
    if (options.signal.aborted) end();
    else options.signal.addEventListener('abort', end, { once: true });
  });
  return { trigger: () => loop.trigger(), stopped };
}

interface Memory {
  readonly sinceUs: number;
  history: readonly Recommendation[];
}

interface Seen {
  /** The measurement's own time, by its node's clock: only whether it changes is looked at. */
  at: number;
  seenMs: number;
  readonly firstMs: number;
}

class ServiceScaler {
  readonly #options: AutoscalerOptions;
  /** By service and uid. */
  readonly #memory = new Map<string, Memory>();
  readonly #seen = new Map<string, Seen>();

  constructor(options: AutoscalerOptions) {
    this.#options = options;
  }

  async pass(signal: AbortSignal): Promise<void> {
    const { view } = this.#options;
    const scaled = new Set<string>();
    for (const [id, { value: service }] of view.services) {
      if (!service.spec?.autoscale || service.deletedAt > 0 || service.spec.mode !== ServiceSpecMode.replicated) continue;
      scaled.add(`${id} ${service.uid}`);
      await this.#scale(id, service, signal);
      if (signal.aborted) return;
    }
    for (const name of this.#memory.keys()) if (!scaled.has(name)) this.#memory.delete(name);
    for (const id of this.#seen.keys()) if (!view.assignments.has(id)) this.#seen.delete(id);
  }

  async #scale(id: string, service: Service, signal: AbortSignal): Promise<void> {
    const { view, clock } = this.#options;
    const spec = service.spec!;
    const nowUs = clock.nowUs();
    const name = `${id} ${service.uid}`;
    const memory = this.#memory.get(name) ?? { sinceUs: nowUs, history: [] };
    this.#memory.set(name, memory);
    const current = view.scales.get(id)?.value.replicas ?? spec.replicas;
    const samples = this.#samples(id);
    const decision = planAutoscale({
      autoscale: spec.autoscale!,
      reservation: spec.reservation ?? { cpuMillis: 0, memoryBytes: 0, ioBytesPerSecond: 0, networkBytesPerSecond: 0 },
      current,
      samples,
      missing: Math.max(0, current - samples.length),
      history: memory.history,
      sinceUs: memory.sinceUs,
      nowUs,
    });
    memory.history = decision.history;
    if (decision.replicas !== current || !view.scales.has(id)) await this.#commit(id, service, current, decision, signal);
  }

  /** Measurements of the containers that run and have settled. */
  #samples(id: string): Sample[] {
    const { view, usage, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    const samples: Sample[] = [];
    for (const { assignment, status } of view.containersOf(id)) {
      if (assignment.desired !== AssignmentDesired.run || status?.state !== ContainerState.running) continue;
      const latest = usage.latest(assignment.id);
      if (!latest) continue;
      const seen = this.#seen.get(assignment.id) ?? { at: Number.NaN, seenMs: nowMs, firstMs: nowMs };
      if (seen.at !== latest.at) {
        seen.at = latest.at;
        seen.seenMs = nowMs;
      }
      this.#seen.set(assignment.id, seen);
      if (nowMs - seen.seenMs > freshMs || nowMs - seen.firstMs < warmUpMs) continue;
      samples.push({ cpuMillis: latest.cpuMillis, memoryBytes: latest.memoryBytes });
    }
    return samples;
  }

  async #commit(id: string, service: Service, current: number, decision: AutoscaleDecision, signal: AbortSignal): Promise<void> {
    const { view, store, fence, clock, emit } = this.#options;
    const key = service.key!;
    const { replicas, reason, recommendation } = decision;
    const entry = view.services.get(id);
    const scale = Scale.create({ key, replicas, updatedAt: clock.nowUs(), reason });
    const result = await store.transact({
      compare: [
        fence,
        { kind: 'modRevision', key: keys.scale(key), equals: view.scales.get(id)?.modRevision ?? 0 },
        { kind: 'modRevision', key: keys.service(key), equals: entry?.modRevision ?? 0 },
      ],
      writes: [{ kind: 'put', key: keys.scale(key), value: Scale.encode(scale) }],
    });
    await view.atLeast(result.revision, signal);
    if (!result.succeeded) throw new GantryError(Code.aborted, `cannot scale "${id}": it must not change meanwhile, found that it did`);
    if (replicas === current) return;
    emit({
      namespace: key.namespace,
      app: key.app,
      service: key.service,
      subject: `service/${key.service}`,
      type: replicas > current ? 'ScaledUp' : 'ScaledDown',
      message: `${current} -> ${replicas} replicas: ${reason} (asks for ${recommendation})`,
    });
  }
}
