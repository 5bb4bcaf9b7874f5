import { type Resources, Usage } from '@gantry/proto';
import { amountsOf } from '../../control-plane/src/scheduler/dimensions.ts';
import { Engine } from '../../control-plane/src/scheduler/engine.ts';
import { NodeTable } from '../../control-plane/src/scheduler/node-table.ts';
import { EstimateTable } from '../../control-plane/src/usage/estimate-table.ts';
import { type Bench, type BenchResult, round } from './bench.ts';
import { type SyntheticContainer, syntheticFleet } from './synthetic-fleet.ts';

const fleet = { services: 60, replicas: 10, seed: 1 };
/** Days that estimates learn from, then days that only judge the packing. */
const learnedDays = 2;
const judgedDays = 3;
const stepMinutes = 1;
const stepHours = stepMinutes / 60;
const stepsPerHour = 60 / stepMinutes;
const keys = ['cpuMillis', 'memoryBytes', 'ioBytesPerSecond', 'networkBytesPerSecond'] as const;

const nodeShape: Resources = { cpuMillis: 16_000, memoryBytes: 64 * 2 ** 30, ioBytesPerSecond: 4e8, networkBytesPerSecond: 4e8 };

/** The node of each container, as few nodes as the engine needs, the largest first. */
function pack(containers: readonly SyntheticContainer[], needsOf: (container: SyntheticContainer) => Resources): Map<string, string> {
  const table = new NodeTable(fleet.seed);
  const capacity = amountsOf(nodeShape);
  for (let index = 0; index < containers.length; index++) {
    const name = `n${index}`;
    table.upsert({ name, hostname: name, os: 'linux', arch: 'amd64', labels: {}, taints: [], unready: '', closed: '', capacity });
  }
  const engine = new Engine(table);
  const sized = containers.map((container) => {
    const needs = needsOf(container);
    return { container, needs, size: keys.reduce((sum, key) => sum + needs[key] / nodeShape[key], 0) };
  });
  const nodes = new Map<string, string>();
  for (const { container, needs } of sized.sort((a, b) => b.size - a.size)) {
    const rest = { constraints: [], tolerations: [], preferences: [], maxPerNode: 0, strategy: undefined, pin: undefined, replicas: 1 };
    const { placed } = engine.place({ service: container.id, demand: { ...rest, needs: amountsOf(needs) }, ids: [container.id] });
    if (placed[0]) nodes.set(container.id, placed[0].node);
  }
  return nodes;
}

/** Lets the fleet run, and gives every step to the estimates. */
function learn(containers: readonly SyntheticContainer[]): EstimateTable {
  const estimates = new EstimateTable();
  for (let step = 0; step < learnedDays * 24 * stepsPerHour; step++) {
    for (const container of containers) {
      const use = container.use(step * stepHours, stepHours);
      const usage = Usage.create({
        cpuMillis: use.cpuMillis,
        memoryBytes: use.memoryBytes,
        ioReadBytesPerSecond: use.ioBytesPerSecond,
        networkReceiveBytesPerSecond: use.networkBytesPerSecond,
      });
      estimates.record({ id: container.id, service: container.service, revision: 1 }, usage, step * stepMinutes * 60e6);
    }
  }
  return estimates;
}

interface Judged {
  /** Percent of node-hours whose mean use was over capacity in any dimension. */
  hours: number;
  /** Percent of node-minutes, the finest that the fleet knows. */
  minutes: number;
}

/** Uses more days, on which nothing was learned, and counts what passes a node's capacity in each packing. */
function judge(containers: readonly SyntheticContainer[], packings: readonly ReadonlyMap<string, string>[]): Judged[] {
  const counts = packings.map((nodes) => ({ nodes: new Set(nodes.values()).size, hours: 0, minutes: 0 }));
  const hours = judgedDays * 24;
  for (let hour = 0; hour < hours; hour++) {
    const overHour = packings.map(() => new Map<string, Float64Array>());
    for (let step = 0; step < stepsPerHour; step++) {
      const uses = containers.map((container) => container.use(learnedDays * 24 + hour + step * stepHours, stepHours));
      for (const [at, nodes] of packings.entries()) {
        const sums = sumsByNode(containers, uses, nodes);
        for (const [node, sum] of sums) {
          if (isOver(sum, 1)) counts[at]!.minutes++;
          const total = overHour[at]!.get(node);
          if (total) for (let key = 0; key < total.length; key++) total[key]! += sum[key]!;
          else overHour[at]!.set(node, sum);
        }
      }
    }
    for (const [at, sums] of overHour.entries()) for (const sum of sums.values()) if (isOver(sum, stepsPerHour)) counts[at]!.hours++;
  }
  return counts.map(({ nodes, hours: over, minutes }) => ({
    hours: (100 * over) / (nodes * hours),
    minutes: (100 * minutes) / (nodes * hours * stepsPerHour),
  }));
}

function sumsByNode(
  containers: readonly SyntheticContainer[],
  uses: readonly Resources[],
  nodes: ReadonlyMap<string, string>,
): Map<string, Float64Array> {
  const sums = new Map<string, Float64Array>();
  for (const [index, { id }] of containers.entries()) {
    const node = nodes.get(id)!;
    const sum = sums.get(node) ?? new Float64Array(keys.length);
    for (let key = 0; key < keys.length; key++) sum[key]! += uses[index]![keys[key]!];
    sums.set(node, sum);
  }
  return sums;
}

function isOver(sum: Float64Array, steps: number): boolean {
  return keys.some((key, at) => sum[at]! > nodeShape[key] * steps);
}

/** Containers without a node, and nodes that were given more than they have by what was packed. */
function violationsOf(
  containers: readonly SyntheticContainer[],
  nodes: ReadonlyMap<string, string>,
  needsOf: (container: SyntheticContainer) => Resources,
): number {
  const placed = containers.filter(({ id }) => nodes.has(id));
  const sums = sumsByNode(placed, placed.map(needsOf), nodes);
  return containers.length - placed.length + [...sums.values()].filter((sum) => isOver(sum, 1)).length;
}

function measure(log: (line: string) => void): BenchResult {
  const containers = syntheticFleet(fleet);
  const reserved = ({ reservation }: SyntheticContainer) => reservation;
  const byReservation = pack(containers, reserved);
  const estimates = learn(containers);
  const expected = ({ id, service, reservation }: SyntheticContainer) => estimates.expected({ id, service, revision: 1 }, reservation);
  const byEstimate = pack(containers, expected);
  const [reservation, estimate] = judge(containers, [byReservation, byEstimate]);
  const nodes = [byReservation, byEstimate].map((packed) => new Set(packed.values()).size);
  log(`by reservation: ${nodes[0]} nodes, ${round(reservation!.hours, 3)} % of node-hours over capacity`);
  log(`by estimate: ${nodes[1]} nodes, ${round(estimate!.hours, 3)} % of node-hours, ${round(estimate!.minutes, 3)} % of node-minutes`);
  return {
    parameters: { ...fleet, learnedDays, judgedDays, stepMinutes },
    figures: {
      nodes_by_reservation: nodes[0]!,
      nodes_by_estimate: nodes[1]!,
      node_ratio: round(nodes[1]! / nodes[0]!, 3),
      over_capacity_percent: round(estimate!.hours, 3),
      over_capacity_minutes_percent: round(estimate!.minutes, 3),
    },
    oracle: {
      checked: true,
      violations: violationsOf(containers, byReservation, reserved) + violationsOf(containers, byEstimate, expected),
    },
  };
}

/** What packing by estimates saves, and what it risks. */
export const reclaim: Bench = {
  name: 'reclaim',
  about: 'nodes by reservation against nodes by estimate on a synthetic fleet, and time over capacity',
  run: async (log) => measure(log),
};
