import type { NodeScore } from '@gantry/proto';
import { Domains, Proximity } from './affinity.ts';
import { attributeFilters, type Eligibility, eligibilityKey, findEligible, isAvoided } from './filters.ts';
import type { NodeTable } from './node-table.ts';
import type { Demand, Placed, PlacementRequest, PlacementResult, Strategy } from './ports.ts';
import { explainScore, fitScore, impossible } from './score.ts';
import { ScoreIndex } from './score-index.ts';

/** Rows that all kept indexes may have together: bounds their memory to about 32 MB. */
const rowsInIndexes = 2_000_000;
/** Classes that were asked for once of late, and how many eligibilities are kept. */
const classesRemembered = 1024;

const unscored: NodeScore[] = [];

export interface EngineOptions {
  /** For demands that name none. Default binpack. */
  strategy?: Strategy;
}

/**
 * Places containers on the rows of a table. Requests that are scored alike share one index; a batch costs a look at every node the
 * first time and the few changed nodes after that. No clock, no randomness: the same calls give the same places.
 */
export class Engine {
  readonly #table: NodeTable;
  readonly #strategy: Strategy;
  readonly #indexes = new Map<string, ScoreIndex>();
  readonly #eligible = new Map<string, Eligibility>();
  /** An index of its own pays from the second request on; the first of a class takes this one. */
  #scratch: ScoreIndex | undefined;
  readonly #seenOnce = new Set<string>();
  readonly #domains: Domains;

  constructor(table: NodeTable, options: EngineOptions = {}) {
    this.#table = table;
    this.#strategy = options.strategy ?? 'binpack';
    this.#domains = new Domains(table);
  }

  /** Strategy that a demand is placed by. */
  strategyOf(demand: Demand): Strategy {
    return demand.strategy ?? this.#strategy;
  }

  /** Finds a node for each container, charges what it places to the table, and says which found none. */
  place(request: PlacementRequest): PlacementResult {
    const { demand, ids, service } = request;
    if (demand.pin) return this.#placePinned(request, demand.pin.node);
    const table = this.#table;
    const index = this.#indexFor(demand);
    const copies = table.copies(service);
    const crashesOn = rowsOf(table, request.crashes);
    const proximity = this.#proximity(request);
    const touched = new Set([...copies.keys(), ...crashesOn.keys(), ...(proximity?.rows() ?? [])]);
    const counts = new Int32Array(index.prefixCount);
    const rescore = (row: number): void => {
      const nearness = proximity?.score(row) ?? 0;
      // asked for anew: the map of a service that had nothing is another one after its first container
      const here = table.copies(service).get(row) ?? 0;
      index.set(row, index.adjusted(row, demand, here, crashesOn.get(row) ?? 0, nearness));
    };
    for (const row of touched) rescore(row);
    if (counts.length > 0) for (const [row, count] of copies) countUp(counts, index.prefixesOf(row), count);
    const placed: Placed[] = [];
    for (const id of ids) {
      const row = index.best(counts);
      if (row < 0) break;
      const scores = request.scores ? this.#scores(index, counts, row, request, { crashesOn, proximity }) : unscored;
      const here = table.chargeRow(service, id, row, demand.needs);
      placed.push({ id, node: table.node(row)!.name, scores });
      // Nobody looks at the scratch index again: it is built anew for whoever takes it next.
      if (index === this.#scratch && placed.length === ids.length) break;
      if (here === 1) touched.add(row);
      if (proximity) {
        for (const other of proximity.placed(row)) {
          touched.add(other);
          rescore(other);
        }
        rescore(row);
      } else index.set(row, index.adjusted(row, demand, here, crashesOn.get(row) ?? 0));
      if (counts.length > 0) countUp(counts, index.prefixesOf(row), 1);
    }
    if (index !== this.#scratch) {
      for (const row of touched) index.reset(row);
      index.settled();
    }
    return { placed, refused: ids.slice(placed.length) };
  }

  /** Names of the nodes that pass every filter on attributes, whether or not there is room. */
  eligibleNodes(demand: Demand): string[] {
    const { rows } = this.#eligibility(demand);
    const names: string[] = [];
    for (let row = 0; row < rows.length; row++) if (rows[row] === 1) names.push(this.#table.node(row)!.name);
    return names;
  }

  /** One node can take them: no index, only that node is looked at. */
  #placePinned(request: PlacementRequest, name: string): PlacementResult {
    const { demand, ids, service, scores } = request;
    const proximity = this.#proximity(request);
    const table = this.#table;
    const row = table.rowOf(name);
    const node = row === undefined ? undefined : table.node(row);
    const placed: Placed[] = [];
    if (row === undefined || !node || !attributeFilters(demand).every((filter) => filter.check(node))) return { placed, refused: ids };
    for (const id of ids) {
      const copies = table.copies(service).get(row) ?? 0;
      if (demand.maxPerNode > 0 && copies >= demand.maxPerNode) break;
      if (proximity?.broken(row)) break;
      if (fitScore(table, row, demand, this.strategyOf(demand)) === impossible) break;
      const adjustment = { copies, crashes: 0, avoided: isAvoided(node, demand), ...proximity?.values(row) };
      const explained = scores ? [explainScore(table, row, demand, this.strategyOf(demand), adjustment)] : [];
      table.chargeRow(service, id, row, demand.needs);
      proximity?.placed(row);
      placed.push({ id, node: name, scores: explained });
    }
    return { placed, refused: ids.slice(placed.length) };
  }

  #proximity({ demand, service }: PlacementRequest): Proximity | undefined {
    return demand.affinities === undefined || demand.affinities.length === 0
      ? undefined
      : new Proximity(this.#table, service, demand.affinities, this.#domains);
  }

  /** The winner's score with its parts, then those of the two that came next. */
  #scores(
    index: ScoreIndex,
    counts: Int32Array,
    winner: number,
    request: PlacementRequest,
    { crashesOn, proximity }: { crashesOn: ReadonlyMap<number, number>; proximity: Proximity | undefined },
  ): NodeScore[] {
    const { demand, service } = request;
    const copies = this.#table.copies(service);
    const taken: { row: number; score: number }[] = [];
    for (let row = winner; row >= 0 && taken.length < 3; row = index.best(counts)) {
      taken.push({ row, score: index.score(row) });
      index.set(row, impossible);
    }
    for (const { row, score } of taken) index.set(row, score);
    return taken.map(({ row }) =>
      explainScore(this.#table, row, demand, this.strategyOf(demand), {
        copies: copies.get(row) ?? 0,
        crashes: crashesOn.get(row) ?? 0,
        avoided: index.avoided(row),
        ...proximity?.values(row),
      }),
    );
  }

  #indexFor(demand: Demand): ScoreIndex {
    const strategy = this.strategyOf(demand);
    const key = `${strategy}|${demand.needs.join()}|${demand.preferences.join()}|${eligibilityKey(demand)}`;
    const known = this.#indexes.get(key);
    if (known) {
      known.follow((asked) => this.#eligibility(asked));
      // Youngest last: the oldest goes first when there are too many.
      this.#indexes.delete(key);
      this.#indexes.set(key, known);
      return known;
    }
    const eligible = this.#eligibility(demand);
    if (!this.#seenOnce.delete(key)) {
      this.#seenOnce.add(key);
      trim(this.#seenOnce, classesRemembered);
      if (!this.#scratch) this.#scratch = new ScoreIndex(this.#table, demand, strategy, eligible);
      else this.#scratch.reuse(demand, strategy, eligible);
      return this.#scratch;
    }
    const index = new ScoreIndex(this.#table, demand, strategy, eligible);
    this.#indexes.set(key, index);
    trim(this.#indexes, Math.max(2, Math.min(512, Math.floor(rowsInIndexes / Math.max(1, this.#table.length)))));
    return index;
  }

  #eligibility(demand: Demand): Eligibility {
    const key = eligibilityKey(demand);
    const known = this.#eligible.get(key);
    if (known?.shape === this.#table.shape) return known;
    const found = findEligible(this.#table, demand);
    this.#eligible.delete(key);
    this.#eligible.set(key, found);
    trim(this.#eligible, classesRemembered);
    return found;
  }
}

function countUp(counts: Int32Array, prefixes: readonly number[], by: number): void {
  for (const prefix of prefixes) counts[prefix]! += by;
}

function rowsOf(table: NodeTable, byNode: ReadonlyMap<string, number> | undefined): ReadonlyMap<number, number> {
  const rows = new Map<number, number>();
  for (const [node, value] of byNode ?? []) {
    const row = table.rowOf(node);
    if (row !== undefined && value > 0) rows.set(row, value);
  }
  return rows;
}

function trim(kept: Map<string, unknown> | Set<string>, atMost: number): void {
  for (const key of kept.keys()) {
    if (kept.size <= atMost) return;
    kept.delete(key);
  }
}
