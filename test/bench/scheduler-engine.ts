import { Engine } from '../../control-plane/src/scheduler/engine.ts';
import { NodeTable } from '../../control-plane/src/scheduler/node-table.ts';
import type { Demand } from '../../control-plane/src/scheduler/ports.ts';
import { type Bench, median, round } from './bench.ts';
import { sequence } from './sequence.ts';

/** Different shapes of services, asked for in turn. */
const shapes = 20;
const rounds = 3;
const gib = 2 ** 30;

/** Nodes of 64 cores and 256 GiB in three zones, a quarter of each in use. */
function fleet(nodes: number): NodeTable {
  const random = sequence(1);
  const table = new NodeTable(1);
  for (let index = 0; index < nodes; index++) {
    const name = `n${index}`;
    const capacity = Float64Array.of(64_000, 256 * gib, 2e9, 1.25e9, 0, 0);
    const labels = { zone: `z${index % 3}` };
    table.upsert({ name, hostname: name, os: 'linux', arch: 'amd64', labels, taints: [], unready: '', closed: '', capacity });
    const used = [32_000, 128 * gib, 1e9, 6e8].map((most) => Math.floor(random() * most));
    table.charge('before', `before-${index}`, name, Float64Array.of(...used, 0, 0));
  }
  return table;
}

interface Run {
  nodes: number;
  batch: number;
  total: number;
  preferences?: string[];
}

interface Measured {
  perSecond: number;
  violations: number;
}

/** Places `total` containers of services of `batch` each. */
function place({ nodes, batch, total, preferences = [] }: Run): Measured {
  const table = fleet(nodes);
  const engine = new Engine(table);
  const bare: Omit<Demand, 'needs'> = {
    constraints: [],
    tolerations: [],
    preferences,
    maxPerNode: 0,
    strategy: undefined,
    pin: undefined,
    replicas: batch,
  };
  const demands = Array.from({ length: shapes }, (_, shape) => ({
    ...bare,
    needs: Float64Array.of(100 + 5 * shape, gib / 8 + shape, 1e5, 1e5, 32, 0),
  }));
  let placed = 0;
  const start = performance.now();
  for (let service = 0; service * batch < total; service++) {
    const ids = Array.from({ length: batch }, (_, slot) => `c${service}-${slot}`);
    placed += engine.place({ service: `s${service}`, demand: demands[service % shapes]!, ids }).placed.length;
  }
  const perSecond = (placed / (performance.now() - start)) * 1000;
  return { perSecond, violations: violations(table) + Number(placed !== Math.ceil(total / batch) * batch) };
}

/** Nodes above their capacity in any dimension. */
function violations(table: NodeTable): number {
  return [...table.nodes()].filter(({ name, capacity }) => [0, 1, 2, 3].some((at) => table.used(at, table.rowOf(name)!) > capacity[at]!))
    .length;
}

const runs: Readonly<Record<string, Run>> = {
  per_second_1: { nodes: 10_000, batch: 1, total: 50_000 },
  per_second_50: { nodes: 10_000, batch: 50, total: 500_000 },
  per_second_1000: { nodes: 10_000, batch: 1000, total: 1_000_000 },
  per_second_100k_nodes: { nodes: 100_000, batch: 50, total: 200_000 },
  per_second_spread_zones: { nodes: 10_000, batch: 50, total: 200_000, preferences: ['node.labels.zone'] },
};

/** The scheduler's engine alone, in one thread. */
export const schedulerEngine: Bench = {
  name: 'scheduler-engine',
  about: 'placements a second of the engine alone, four dimensions, by batch size',
  run: async (log) => {
    const figures: Record<string, number> = {};
    let broken = 0;
    for (const [name, run] of Object.entries(runs)) {
      const measured = Array.from({ length: rounds }, () => place(run));
      figures[name] = round(median(measured.map(({ perSecond }) => perSecond)), 0);
      broken += measured.reduce((sum, { violations: found }) => sum + found, 0);
      log(`${name}: ${figures[name]}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { parameters: { shapes, rounds, seed: 1 }, figures, oracle: { checked: true, violations: broken } };
  },
};
