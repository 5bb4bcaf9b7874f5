import type { Clock } from '@gantry/common';
import { ContainerHealth, type Probe, ProbeType } from '@gantry/proto';
import pLimit from 'p-limit';
import { Agenda } from './agenda.ts';
import type { Connector } from './connector.ts';
import { ProbeRun } from './probe-run.ts';
import type { Condition, Prober, Probes, ProbeTarget } from './prober.ts';

export interface ProberOptions {
  clock: Clock;
  connector: Connector;
  /** 0..1, spreads probes that start together. */
  random: () => number;
  /** Probes that run at the same time on this node. Default 64. */
  concurrency?: number;
}

interface Watch {
  health: ProbeRun | undefined;
  readiness: ProbeRun | undefined;
  condition: Condition;
}

/** Probes all containers of a node from one process and one timer. */
export function createProber(options: ProberOptions): Prober {
  return new NodeProber(options);
}

class NodeProber implements Prober {
  readonly #options: ProberOptions;
  readonly #agenda: Agenda;
  readonly #limit;
  readonly #watches = new Map<string, Watch>();
  readonly #listeners = new Set<(id: string, condition: Condition) => void>();

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#agenda = new Agenda(options.clock);
    this.#limit = pLimit(options.concurrency ?? 64);
  }

  watch(id: string, probes: Probes, target: ProbeTarget, found?: Condition): Condition {
    this.unwatch(id);
    const foundHealthy = found && found.health !== ContainerHealth.starting_up ? found.health !== ContainerHealth.unhealthy : undefined;
    const watch: Watch = {
      health: this.#run(id, probes.health, target, foundHealthy),
      readiness: this.#run(id, probes.readiness, target, found?.ready === true ? true : undefined),
      condition: { health: ContainerHealth.none, ready: true, reason: '' },
    };
    watch.condition = conditionOf(watch);
    this.#watches.set(id, watch);
    return watch.condition;
  }

  #run(id: string, probe: Probe | null, target: ProbeTarget, passing: boolean | undefined): ProbeRun | undefined {
    if (!probe || probe.type === ProbeType.none) return undefined;
    const { clock, connector, random } = this.#options;
    const [agenda, limit, phase] = [this.#agenda, this.#limit, random()];
    return new ProbeRun({ clock, agenda, connector, limit, probe, target, passing, phase, onResult: () => this.#update(id) });
  }

  #update(id: string): void {
    const watch = this.#watches.get(id);
    if (!watch) return;
    const before = watch.condition;
    const now = conditionOf(watch);
    watch.condition = now;
    if (now.health === before.health && now.ready === before.ready) return;
    for (const listener of this.#listeners) listener(id, now);
  }

  unwatch(id: string): void {
    const watch = this.#watches.get(id);
    this.#watches.delete(id);
    watch?.health?.stop();
    watch?.readiness?.stop();
  }

  condition(id: string): Condition | undefined {
    return this.#watches.get(id)?.condition;
  }

  onChange(listener: (id: string, condition: Condition) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    for (const id of [...this.#watches.keys()]) this.unwatch(id);
    this.#agenda.clear();
    this.#listeners.clear();
  }
}

const healthOf = {
  starting: ContainerHealth.starting_up,
  passing: ContainerHealth.healthy,
  failing: ContainerHealth.unhealthy,
} as const;

function conditionOf({ health, readiness }: Pick<Watch, 'health' | 'readiness'>): Condition {
  const gate = readiness ?? health;
  return {
    health: health ? healthOf[health.kind] : ContainerHealth.none,
    ready: (gate === undefined || gate.kind === 'passing') && health?.kind !== 'failing',
    reason: health?.reason || readiness?.reason || '',
  };
}
