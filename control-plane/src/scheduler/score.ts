import type { NodeScore, ScorePart } from '@gantry/proto';
import { scoredDimensions } from './dimensions.ts';
import { inverseAt, type NodeTable, stride } from './node-table.ts';
import type { Demand, Strategy } from './ports.ts';

/**
 * Weights of the parts. Stranding weighs less than a third of fit, so that filling a node further always raises its score:
 * a full third would make nodes of which one dimension is used look worse than empty ones.
 */
export const weights = { fit: 1, stranding: -0.25, siblings: -0.5, crashes: -0.5, taints: -0.5, near: 0.5, apart: -0.5 } as const;

/** Crashes on a node of late that weigh as much as any more of them. */
const crashesAtMost = 3;

/** What changes the score of few nodes only: containers of the same service there, crashes of it, a taint to avoid. */
export interface Adjustment {
  readonly copies: number;
  readonly crashes: number;
  readonly avoided: boolean;
  /** Preferred affinities that hold, and preferred anti-affinities that do not, as shares. Default none. */
  readonly near?: number;
  readonly apart?: number;
}

/** Score of a node that cannot take the container. */
export const impossible = Number.NEGATIVE_INFINITY;

/**
 * How well the container fits a row: the share of the node in use afterwards, over the four dimensions (of the node left free, for
 * `spread`), less what is stranded: by how much the average of what stays free passes the tightest dimension.
 * `impossible` when it does not fit.
 */
export function fitScore(table: NodeTable, row: number, demand: Demand, strategy: Strategy): number {
  const { needs } = demand;
  const { cells } = table;
  const cell = row * stride;
  let sum = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let dimension = 0; dimension < needs.length; dimension++) {
    const need = needs[dimension]!;
    const after = cells[cell + dimension]! - need;
    if (after < 0 && need > 0) return impossible;
    if (dimension >= scoredDimensions) continue;
    const share = after * cells[cell + inverseAt + dimension]!;
    sum += share;
    if (share < least) least = share;
  }
  const mean = sum / scoredDimensions;
  return (strategy === 'binpack' ? 1 - mean : mean) + weights.stranding * (mean - least);
}

/** What siblings, crashes and avoided taints add to (mostly take from) the fit. */
export function adjustmentScore(adjustment: Adjustment, demand: Demand): number {
  const { siblings, crashes, avoided } = adjustmentValues(adjustment, demand);
  return weights.siblings * siblings + weights.crashes * crashes + weights.taints * avoided;
}

function adjustmentValues({ copies, crashes, avoided }: Adjustment, demand: Demand) {
  return {
    siblings: Math.min(1, copies / Math.max(1, demand.replicas)),
    crashes: Math.min(1, crashes / crashesAtMost),
    avoided: avoided ? 1 : 0,
  };
}

/** The score of a row with its parts, for people. */
export function explainScore(table: NodeTable, row: number, demand: Demand, strategy: Strategy, adjustment: Adjustment): NodeScore {
  let sum = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let dimension = 0; dimension < scoredDimensions; dimension++) {
    const share = (table.free(dimension, row) - demand.needs[dimension]!) * table.cells[row * stride + inverseAt + dimension]!;
    sum += share;
    least = Math.min(least, share);
  }
  const mean = sum / scoredDimensions;
  const values = adjustmentValues(adjustment, demand);
  const parts: ScorePart[] = [
    strategy === 'binpack' ? { name: 'fit', weight: weights.fit, value: 1 - mean } : { name: 'room', weight: weights.fit, value: mean },
    { name: 'stranding', weight: weights.stranding, value: mean - least },
    { name: 'siblings', weight: weights.siblings, value: values.siblings },
    { name: 'crashes', weight: weights.crashes, value: values.crashes },
    { name: 'taints', weight: weights.taints, value: values.avoided },
    { name: 'near', weight: weights.near, value: adjustment.near ?? 0 },
    { name: 'apart', weight: weights.apart, value: adjustment.apart ?? 0 },
  ].filter(({ name, value }) => value !== 0 || name === 'fit' || name === 'room');
  return { node: table.node(row)?.name ?? '', score: parts.reduce((total, part) => total + part.weight * part.value, 0), parts };
}
