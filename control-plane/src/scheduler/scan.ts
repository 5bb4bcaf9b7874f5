import { scoredDimensions } from './dimensions.ts';
import type { Eligibility } from './filters.ts';
import { inverseAt, type NodeTable, stride, tieAt } from './node-table.ts';
import type { Demand, Strategy } from './ports.ts';
import { impossible, weights } from './score.ts';

/**
 * The scores of all rows for a service that has nothing anywhere, into `scores`; returns the best row, -1 when none fits.
 * The same sums in the same order as `fitScore`, written out for one walk over the table.
 */
export function scanScores(table: NodeTable, demand: Demand, strategy: Strategy, eligible: Eligibility, scores: Float64Array): number {
  // All that the loop reads is taken into locals, one by one: values of an iterator and imported bindings would be looked up and
  // unboxed at every row, which makes the loop twice to three times as slow.
  const { needs } = demand;
  const need0 = needs[0]!;
  const need1 = needs[1]!;
  const need2 = needs[2]!;
  const need3 = needs[3]!;
  const need4 = needs[4]!;
  const need5 = needs[5]!;
  const { cells } = table;
  const { rows, avoided } = eligible;
  const whole = strategy === 'binpack' ? 1 : 0;
  const sign = strategy === 'binpack' ? -1 : 1;
  const bounded = need4 > 0 || need5 > 0;
  const width = stride;
  const inverse = inverseAt;
  const tie = tieAt;
  const none = impossible;
  const { stranding, taints } = weights;
  const share = 1 / scoredDimensions;
  const length = scores.length;
  let best = -1;
  let bestScore = none;
  for (let row = 0, cell = 0; row < length; row++, cell += width) {
    let score = none;
    if (rows[row] === 1 && !(bounded && (cells[cell + 4]! < need4 || cells[cell + 5]! < need5))) {
      const after0 = cells[cell]! - need0;
      const after1 = cells[cell + 1]! - need1;
      const after2 = cells[cell + 2]! - need2;
      const after3 = cells[cell + 3]! - need3;
      if ((after0 >= 0 || need0 === 0) && (after1 >= 0 || need1 === 0) && (after2 >= 0 || need2 === 0) && (after3 >= 0 || need3 === 0)) {
        const share0 = after0 * cells[cell + inverse]!;
        const share1 = after1 * cells[cell + inverse + 1]!;
        const share2 = after2 * cells[cell + inverse + 2]!;
        const share3 = after3 * cells[cell + inverse + 3]!;
        const mean = (share0 + share1 + share2 + share3) * share;
        const least = Math.min(Math.min(share0, share1), Math.min(share2, share3));
        const fit = whole + sign * mean + stranding * (mean - least);
        score = fit + (avoided[row] === 1 ? taints : 0) + cells[cell + tie]!;
      }
    }
    scores[row] = score;
    if (score > bestScore) {
      bestScore = score;
      best = row;
    }
  }
  return best;
}
