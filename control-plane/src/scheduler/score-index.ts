import { attributeOf } from '../cluster/constraint.ts';
import type { Eligibility } from './filters.ts';
import { type NodeTable, stride, tieAt } from './node-table.ts';
import type { Demand, Strategy } from './ports.ts';
import { scanScores } from './scan.ts';
import { adjustmentScore, fitScore, impossible } from './score.ts';
import { Tournament } from './tournament.ts';

/** Rows that agree in every attribute to spread over. */
interface Group {
  readonly tournament: Tournament;
  readonly rows: Int32Array;
  /** Number of each prefix of the attribute values, the coarsest first: counted separately. */
  readonly prefixes: readonly number[];
}

/** The best row for one class of demands, kept while rows change. */
export class ScoreIndex {
  readonly #table: NodeTable;
  #demand: Demand;
  #strategy: Strategy;
  #eligible: Eligibility;
  #sequence = -1;
  /** The best row of the last scan, while its tree has not been built: one look needs no tree. */
  #scanned: number | undefined;
  #groups: Group[] = [];
  #groupOf = new Int32Array(0);
  #positionOf = new Int32Array(0);
  #prefixCount = 0;

  /** @param demand any of the class: all of a class score alike, service and number of replicas aside. */
  constructor(table: NodeTable, demand: Demand, strategy: Strategy, eligible: Eligibility) {
    this.#table = table;
    this.#demand = demand;
    this.#strategy = strategy;
    this.#eligible = eligible;
    this.#build();
  }

  /** Makes it an index for another class, in the same memory: touching new pages costs more than scoring. */
  reuse(demand: Demand, strategy: Strategy, eligible: Eligibility): void {
    if (this.#demand.preferences.length > 0) this.#groups = [];
    this.#demand = demand;
    this.#strategy = strategy;
    this.#eligible = eligible;
    this.#build();
  }

  /** Number of distinct prefixes of the values to spread over; 0 when there is nothing to spread over. */
  get prefixCount(): number {
    return this.#prefixCount;
  }

  /** Brings the scores up to the table's present state. */
  follow(eligible: (demand: Demand) => Eligibility): void {
    if (this.#eligible.shape !== this.#table.shape) {
      this.#eligible = eligible(this.#demand);
      this.#build();
      return;
    }
    const behind = this.#table.sequence - this.#sequence;
    const changed = behind > this.#table.length / 4 ? undefined : this.#table.changedSince(this.#sequence);
    if (!changed) {
      this.#build();
      return;
    }
    for (const row of changed) this.reset(row);
    this.#sequence = this.#table.sequence;
  }

  /** States that every change up to now has been set. */
  settled(): void {
    this.#sequence = this.#table.sequence;
  }

  /** Numbers of a row's prefixes. */
  prefixesOf(row: number): readonly number[] {
    return this.#groups[this.#groupOf[row]!]!.prefixes;
  }

  /**
   * The row to take next: of the groups with the fewest containers of the service (level by level) the best score; -1 when nothing fits.
   * @param counts containers of the service by prefix.
   */
  best(counts: Int32Array): number {
    if (this.#scanned !== undefined) return this.#scanned;
    let chosen = -1;
    let chosenGroup: Group | undefined;
    let chosenScore = impossible;
    for (const group of this.#groups) {
      const position = group.tournament.best();
      const score = position < 0 ? impossible : group.tournament.scores[position]!;
      if (score === impossible) continue;
      const order = chosenGroup ? compareCounts(group.prefixes, chosenGroup.prefixes, counts) : -1;
      if (order > 0 || (order === 0 && score <= chosenScore)) continue;
      chosen = group.rows[position]!;
      chosenGroup = group;
      chosenScore = score;
    }
    return chosen;
  }

  /** Score that is set for a row now. */
  score(row: number): number {
    return this.#groups[this.#groupOf[row]!]!.tournament.scores[this.#positionOf[row]!]!;
  }

  set(row: number, score: number): void {
    this.#grow();
    this.#groups[this.#groupOf[row]!]!.tournament.set(this.#positionOf[row]!, score);
  }

  /** Sets a row's score as it is for a service that has nothing there. */
  reset(row: number): void {
    this.set(row, this.adjusted(row, this.#demand, 0, 0));
  }

  /** A row's score for a service with containers and crashes there. @param nearness what its affinities add. */
  adjusted(row: number, demand: Demand, copies: number, crashes: number, nearness = 0): number {
    if (this.#eligible.rows[row] !== 1 || (demand.maxPerNode > 0 && copies >= demand.maxPerNode)) return impossible;
    const fit = fitScore(this.#table, row, demand, this.#strategy);
    return (
      fit +
      nearness +
      adjustmentScore({ copies, crashes, avoided: this.#eligible.avoided[row] === 1 }, demand) +
      this.#table.cells[row * stride + tieAt]!
    );
  }

  /** Whether the row has a taint that asks to be avoided. */
  avoided(row: number): boolean {
    return this.#eligible.avoided[row] === 1;
  }

  /** Builds the tree over what was scanned, before the first score changes. */
  #grow(): void {
    if (this.#scanned === undefined) return;
    this.#scanned = undefined;
    this.#groups[0]!.tournament.rebuild();
  }

  #build(): void {
    const table = this.#table;
    this.#scanned = undefined;
    if (this.#demand.preferences.length === 0) this.#buildOne();
    else this.#buildGroups();
    this.#sequence = table.sequence;
  }

  #buildOne(): void {
    const { length } = this.#table;
    this.#prefixCount = 0;
    const kept = this.#groups.length === 1 ? this.#groups[0] : undefined;
    if (kept && kept.rows === this.#positionOf && kept.rows.length === length) {
      this.#scanned = scanScores(this.#table, this.#demand, this.#strategy, this.#eligible, kept.tournament.scores);
      return;
    }
    if (this.#positionOf.length !== length || this.#groups.length !== 1) {
      this.#positionOf = new Int32Array(length);
      for (let row = 0; row < length; row++) this.#positionOf[row] = row;
      this.#groupOf = new Int32Array(length);
    }
    const scores = new Float64Array(length);
    scanScores(this.#table, this.#demand, this.#strategy, this.#eligible, scores);
    this.#groups = [{ tournament: new Tournament(scores), rows: this.#positionOf, prefixes: [] }];
  }

  #buildGroups(): void {
    const table = this.#table;
    const all = new Float64Array(table.length);
    scanScores(table, this.#demand, this.#strategy, this.#eligible, all);
    const prefixNumbers = new Map<string, number>();
    const members = new Map<string, { rows: number[]; prefixes: number[] }>();
    this.#groupOf = new Int32Array(table.length);
    this.#positionOf = new Int32Array(table.length);
    for (let row = 0; row < table.length; row++) {
      const node = table.node(row);
      const prefixes: number[] = [];
      let key = '';
      for (const attribute of this.#demand.preferences) {
        key += `${JSON.stringify((node && attributeOf(node, attribute)) ?? '')},`;
        let number = prefixNumbers.get(key);
        if (number === undefined) {
          number = prefixNumbers.size;
          prefixNumbers.set(key, number);
        }
        prefixes.push(number);
      }
      let member = members.get(key);
      if (!member) {
        member = { rows: [], prefixes };
        members.set(key, member);
      }
      this.#groupOf[row] = prefixes[prefixes.length - 1]!;
      this.#positionOf[row] = member.rows.length;
      member.rows.push(row);
    }
    this.#prefixCount = prefixNumbers.size;
    this.#groups = [...members.values()].map(({ rows, prefixes }, number) => {
      for (const row of rows) this.#groupOf[row] = number;
      return { tournament: new Tournament(Float64Array.from(rows, (row) => all[row]!)), rows: Int32Array.from(rows), prefixes };
    });
  }
}

function compareCounts(left: readonly number[], right: readonly number[], counts: Int32Array): number {
  for (let level = 0; level < left.length; level++) {
    const difference = counts[left[level]!]! - counts[right[level]!]!;
    if (difference !== 0) return difference;
  }
  return 0;
}
