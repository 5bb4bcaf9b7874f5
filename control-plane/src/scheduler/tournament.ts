const shift = 5;
const arity = 1 << shift;

/**
 * Finds the largest of many numbers while they change one by one: a tree of 32 children a node that keeps the position of the
 * largest below it. The smaller position wins among equals. Building costs N, a change at most 32 a level.
 */
export class Tournament {
  readonly scores: Float64Array;
  /** Levels from the leaves' parents up to the root; each entry is the position of the largest below it. */
  readonly #levels: Int32Array[] = [];

  /** @param scores taken over and changed by `set`. */
  constructor(scores: Float64Array) {
    this.scores = scores;
    let below = scores.length;
    do {
      const size = Math.max(1, Math.ceil(below / arity));
      this.#levels.push(new Int32Array(size));
      below = size;
    } while (below > 1);
    this.rebuild();
  }

  /** Finds all winners anew, after `scores` was written to directly. */
  rebuild(): void {
    for (const [number, level] of this.#levels.entries()) {
      for (let node = 0; node < level.length; node++) level[node] = this.#winner(number, node);
    }
  }

  /** Position of the largest number; -1 when there are none. */
  best(): number {
    return this.scores.length === 0 ? -1 : this.#levels[this.#levels.length - 1]![0]!;
  }

  set(position: number, score: number): void {
    const scores = this.scores;
    if (scores[position] === score) return;
    scores[position] = score;
    let node = position;
    for (let level = 0; level < this.#levels.length; level++) {
      node >>= shift;
      const entries = this.#levels[level]!;
      const best = entries[node]!;
      if (best === position) {
        entries[node] = this.#winner(level, node);
      } else if (score > scores[best]! || (score === scores[best] && position < best)) {
        entries[node] = position;
      } else {
        return;
      }
    }
  }

  #winner(level: number, node: number): number {
    const scores = this.scores;
    const first = node << shift;
    if (level === 0) {
      const end = Math.min(scores.length, first + arity);
      let best = first;
      for (let position = first + 1; position < end; position++) if (scores[position]! > scores[best]!) best = position;
      return best;
    }
    const below = this.#levels[level - 1]!;
    const end = Math.min(below.length, first + arity);
    let best = below[first]!;
    for (let child = first + 1; child < end; child++) if (scores[below[child]!]! > scores[best]!) best = below[child]!;
    return best;
  }
}
