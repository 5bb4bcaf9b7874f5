import { dimensions as engineDimensions } from '../../control-plane/src/scheduler/dimensions.ts';
import { Engine } from '../../control-plane/src/scheduler/engine.ts';
import { NodeTable } from '../../control-plane/src/scheduler/node-table.ts';
import type { Demand } from '../../control-plane/src/scheduler/ports.ts';
import { weights } from '../../control-plane/src/scheduler/score.ts';
import { type Bench, type BenchResult, round } from './bench.ts';
import { sequence } from './sequence.ts';
import { type Instance, readInstances } from './vbp-instances.ts';

type Items = Instance['items'];
/** The bin of each item, in the items' order. */
type Packing = number[];
type Packer = (instance: Instance, items: Items) => Packing;

const seed = 1;

/** The scheduler's engine: a node a bin, a service of one container an item. Four dimensions are scored, two more bounded. */
const packByEngine: Packer = ({ capacity }, items) => {
  const table = new NodeTable(seed);
  // a dimension that no item needs is left free on every node, and so weighs the same on all
  const amounts = (values: readonly number[], rest: number) => Float64Array.from(engineDimensions, (_, at) => values[at] ?? rest);
  const full = amounts(capacity, 1);
  for (let bin = 0; bin < items.length; bin++) {
    const name = String(bin);
    table.upsert({ name, hostname: name, os: 'linux', arch: 'amd64', labels: {}, taints: [], unready: '', closed: '', capacity: full });
  }
  const engine = new Engine(table);
  const bare: Omit<Demand, 'needs'> = {
    ...{ constraints: [], tolerations: [], preferences: [], maxPerNode: 0, strategy: undefined, pin: undefined, replicas: 1 },
  };
  return items.map((item, index) => {
    const demand = { ...bare, needs: amounts(item, 0) };
    const { placed } = engine.place({ service: `s${index}`, demand, ids: [`c${index}`] });
    return placed[0] ? Number(placed[0].node) : -1;
  });
};

/** Packs into the open bin with the best score, opening one when none fits. `score` sees the shares left free afterwards. */
function packBy(score: (free: readonly number[]) => number): Packer {
  return ({ capacity }, items) => {
    const bins: number[][] = [];
    return items.map((item) => {
      let best = -1;
      let bestScore = Number.NEGATIVE_INFINITY;
      for (const [bin, free] of bins.entries()) {
        if (item.some((size, at) => size > free[at]!)) continue;
        const scored = score(item.map((size, at) => (free[at]! - size) / capacity[at]!));
        if (scored <= bestScore) continue;
        best = bin;
        bestScore = scored;
      }
      if (best < 0) best = bins.push([...capacity]) - 1;
      for (const [at, size] of item.entries()) bins[best]![at]! -= size;
      return best;
    });
  };
}

/** The engine's score, for any number of dimensions: its own is written out for four. */
const packByScore = packBy((free) => {
  const mean = free.reduce((sum, share) => sum + share, 0) / free.length;
  return weights.fit * (1 - mean) + weights.stranding * (mean - Math.min(...free));
});

const firstFit = packBy(() => 0);

const gantry: Packer = (instance, items) =>
  (instance.capacity.length <= engineDimensions.length ? packByEngine : packByScore)(instance, items);

/** Orders that a batch is tried in; the better result counts. */
const sizes: readonly ((shares: readonly number[]) => number)[] = [
  (shares) => shares.reduce((sum, share) => sum + share, 0),
  (shares) => shares.reduce((sum, share) => sum + share * share, 0),
];

function largestFirst({ capacity }: Instance, items: Items, size: (shares: readonly number[]) => number): Items {
  const sized = items.map((item) => ({ item, size: size(item.map((value, at) => value / capacity[at]!)) }));
  return sized.sort((a, b) => b.size - a.size).map(({ item }) => item);
}

function shuffled(items: Items): Items {
  const random = sequence(seed);
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** Broken rules of one packing: items without a bin, bins over capacity, fewer bins than can be. */
function violationsOf({ capacity, optimum }: Instance, items: Items, packing: Packing): number {
  const used = new Map<number, number[]>();
  let violations = packing.length === items.length ? 0 : 1;
  for (const [index, bin] of packing.entries()) {
    if (bin < 0) violations++;
    const sums = used.get(bin) ?? capacity.map(() => 0);
    used.set(
      bin,
      sums.map((sum, at) => sum + items[index]![at]!),
    );
  }
  for (const sums of used.values()) if (sums.some((sum, at) => sum > capacity[at]!)) violations++;
  return violations + Number(used.size < optimum);
}

const figuresOf: Readonly<Record<string, { packer: Packer; orders: (instance: Instance) => readonly Items[] }>> = {
  batch_ratio: { packer: gantry, orders: (instance) => sizes.map((size) => largestFirst(instance, instance.items, size)) },
  batch_first_fit_ratio: { packer: firstFit, orders: (instance) => sizes.map((size) => largestFirst(instance, instance.items, size)) },
  online_ratio: { packer: gantry, orders: ({ items }) => [items] },
  online_first_fit_ratio: { packer: firstFit, orders: ({ items }) => [items] },
  online_shuffled_ratio: { packer: gantry, orders: ({ items }) => [shuffled(items)] },
  online_shuffled_first_fit_ratio: { packer: firstFit, orders: ({ items }) => [shuffled(items)] },
};

/** Mean of bins/optimum over all instances, and over those of each number of dimensions for the engine's own two figures. */
function measure(instances: readonly Instance[], log: (line: string) => void): BenchResult {
  const figures: Record<string, number> = {};
  let violations = 0;
  for (const [name, { packer, orders }] of Object.entries(figuresOf)) {
    const ratios = instances.map((instance) => {
      const bins = orders(instance).map((items) => {
        const packing = packer(instance, items);
        violations += violationsOf(instance, items, packing);
        return new Set(packing).size;
      });
      return { dimensions: instance.capacity.length, ratio: Math.min(...bins) / instance.optimum };
    });
    const mean = (of: typeof ratios) => round(of.reduce((sum, { ratio }) => sum + ratio, 0) / of.length, 4);
    figures[name] = mean(ratios);
    const parts = [3, 5, 10].map((count) => `${mean(ratios.filter(({ dimensions }) => dimensions === count))} in ${count}`);
    log(`${name}: ${figures[name]} (${parts.join(', ')} dimensions)`);
  }
  return { parameters: { instances: instances.length, seed }, figures, oracle: { checked: true, violations } };
}

/** How near to the fewest possible nodes the engine packs, on published instances. */
export const packing: Bench = {
  name: 'packing',
  about: 'bins against the optimum on published vector bin packing instances, in batch and one by one',
  run: async (log) => measure(readInstances(), log),
};
