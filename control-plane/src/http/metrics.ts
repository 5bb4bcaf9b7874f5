import type { Registry } from 'prom-client';

/** A figure with at most one label. */
export interface Figure {
  name: string;
  help: string;
  kind: 'gauge' | 'counter';
  /** Read at each scrape: one number, or numbers by the label's value. */
  read: () => number | ReadonlyMap<string, number>;
  /** Name of the label, when `read` gives several numbers. */
  label?: string;
}

/**
 * Metrics in Prometheus' text form. Nothing is counted between scrapes but what the parts count anyhow, and the library is
 * loaded by the first scrape.
 */
export function createMetrics(figures: readonly Figure[]): () => Promise<{ contentType: string; body: string }> {
  let registry: Promise<Registry> | undefined;
  return async () => {
    registry ??= register(figures);
    const ready = await registry;
    return { contentType: ready.contentType, body: await ready.metrics() };
  };
}

async function register(figures: readonly Figure[]): Promise<Registry> {
  const { Counter, Gauge, Registry } = await import('prom-client');
  const registry = new Registry();
  for (const { name, help, kind, read, label } of figures) {
    const labelNames = label === undefined ? [] : [label];
    const collect = (set: (labels: Record<string, string>, value: number) => void) => {
      const value = read();
      if (typeof value === 'number') set({}, value);
      else if (label !== undefined) for (const [key, number] of value) set({ [label]: key }, number);
    };
    if (kind === 'gauge') {
      const gauge = new Gauge({
        name,
        help,
        labelNames,
        registers: [registry],
        collect: () => collect((labels, value) => gauge.set(labels, value)),
      });
      continue;
    }
    const counter = new Counter({
      name,
      help,
      labelNames,
      registers: [registry],
      collect: () => {
        counter.reset();
        collect((labels, value) => counter.inc(labels, value));
      },
    });
  }
  return registry;
}

/** Figures of this process. */
export function processFigures(): Figure[] {
  return [
    { name: 'process_resident_memory_bytes', help: 'Resident memory.', kind: 'gauge', read: () => process.memoryUsage.rss() },
    { name: 'process_heap_bytes', help: 'Heap in use.', kind: 'gauge', read: () => process.memoryUsage().heapUsed },
    {
      name: 'process_cpu_seconds_total',
      help: 'CPU time used.',
      kind: 'counter',
      read: () => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e6;
      },
    },
    { name: 'process_uptime_seconds', help: 'Time since the start.', kind: 'gauge', read: () => process.uptime() },
  ];
}

/** Counts values by a key. */
export function countBy<T>(values: Iterable<T>, keyOf: (value: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(keyOf(value), (counts.get(keyOf(value)) ?? 0) + 1);
  return counts;
}
