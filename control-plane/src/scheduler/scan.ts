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
  // Indexed one by one: an iterator's values would stay boxed in the loop, which makes it three times as slow.
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
  let best = -1;
  let bestScore = impossible;
  for (let row = 0, cell = 0; row < scores.length; row++, cell += stride) {
    let score = impossible;
    if (rows[row] === 1 && !(bounded && (cells[cell + 4]! < need4 || cells[cell + 5]! < need5))) {
      const after0 = cells[cell]! - need0;
      const after1 = cells[cell + 1]! - need1;
      const after2 = cells[cell + 2]! - need2;
      const after3 = cells[cell + 3]! - need3;
      if ((after0 >= 0 || need0 === 0) && (after1 >= 0 || need1 === 0) && (after2 >= 0 || need2 === 0) && (after3 >= 0 || need3 === 0)) {
        const share0 = after0 * cells[cell + inverseAt]!;
        const share1 = after1 * cells[cell + inverseAt + 1]!;
        const share2 = after2 * cells[cell + inverseAt + 2]!;
        const share3 = after3 * cells[cell + inverseAt + 3]!;
        const mean = (share0 + share1 + share2 + share3) / scoredDimensions;
        const least = Math.min(Math.min(share0, share1), Math.min(share2, share3));
        const fit = whole + sign * mean + weights.stranding * (mean - least);
        score = fit + (avoided[row] === 1 ? weights.taints : 0) + cells[cell + tieAt]!;
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
