import { Proximity } from './affinity.ts';
import { type Amounts, dimensions } from './dimensions.ts';
import { findEligible } from './filters.ts';
import type { NodeTable } from './node-table.ts';
import type { Demand } from './ports.ts';

/** Priorities of one band never push each other out: ..., -100 to -1, 0 to 99, 100 to 199, ... */
const bandWidth = 100;
/** Containers that room is made for at once: bounds the work of one look. */
const atOnce = 32;
/** Up to so many candidates on a node, sets of up to three are tried out one by one. */
const triedOut = 24;

/** A running container that may have to go. */
export interface Occupant {
  readonly id: string;
  readonly service: string;
  readonly needs: Amounts;
  readonly priority: number;
}

/** What runs, for who looks for room. */
export interface Occupancy {
  /** Containers that are to run on a node. */
  readonly occupants: (node: string) => readonly Occupant[];
  /** What those that are stopping there will give back. */
  readonly leaving: (node: string) => Amounts;
  /** How many containers of a service may be pushed out now. */
  readonly budget: (service: string) => number;
}

export interface RoomWish {
  readonly service: string;
  readonly demand: Demand;
  readonly priority: number;
  /** Containers that have no place. */
  readonly missing: number;
}

interface Option {
  readonly row: number;
  readonly victims: readonly Occupant[];
}

export function bandOf(priority: number): number {
  return Math.floor(priority / bandWidth);
}

/**
 * Whom to stop so that the wish finds room: for each container the node whose victims have the lowest band, then the fewest, then
 * the least priority. Room that is coming free already is used first. Never an equal or higher band; empty when nothing helps.
 */
export function chooseVictims(table: NodeTable, wish: RoomWish, occupancy: Occupancy): Occupant[] {
  const search = new Search(table, wish, occupancy);
  for (let count = Math.min(wish.missing, atOnce); count > 0; count--) if (!search.next()) break;
  return search.chosen;
}

class Search {
  readonly chosen: Occupant[] = [];
  readonly #table: NodeTable;
  readonly #wish: RoomWish;
  readonly #occupancy: Occupancy;
  /** What was given and taken on a row by this search. */
  readonly #gained = new Map<number, Float64Array>();
  readonly #added = new Map<number, number>();
  readonly #gone = new Set<string>();
  readonly #spent = new Map<string, number>();
  readonly #options: Option[] = [];

  constructor(table: NodeTable, wish: RoomWish, occupancy: Occupancy) {
    this.#table = table;
    this.#wish = wish;
    this.#occupancy = occupancy;
    const { rows } = findEligible(table, wish.demand);
    const proximity = new Proximity(table, wish.service, wish.demand.affinities);
    for (let row = 0; row < rows.length; row++) if (rows[row] === 1 && !proximity.broken(row)) this.#look(row);
  }

  /** Makes room for one more; false when there is none to be made. */
  next(): boolean {
    for (;;) {
      if (this.#options.length === 0) return false;
      const at = this.#options.reduce((best, option, index) => (cheaper(option, this.#options[best]!) ? index : best), 0);
      const [option] = this.#options.splice(at, 1) as [Option];
      // A service's budget may have been spent on another node since.
      if (!option.victims.every((victim) => this.#may(victim)) || this.#overspends(option.victims)) {
        this.#look(option.row);
        continue;
      }
      this.#take(option);
      return true;
    }
  }

  #take({ row, victims }: Option): void {
    const gained = this.#gained.get(row) ?? new Float64Array(dimensions.length);
    this.#gained.set(row, gained);
    for (const { id, service, needs } of victims) {
      this.#gone.add(id);
      this.#spent.set(service, (this.#spent.get(service) ?? 0) + 1);
      for (const [dimension, need] of needs.entries()) gained[dimension]! += need;
    }
    for (const [dimension, need] of this.#wish.demand.needs.entries()) gained[dimension]! -= need;
    this.#added.set(row, (this.#added.get(row) ?? 0) + 1);
    this.chosen.push(...victims);
    this.#look(row);
  }

  /** Notes how room would be made on the row, if it can be. */
  #look(row: number): void {
    const { demand, service, priority } = this.#wish;
    const copies = (this.#table.copies(service).get(row) ?? 0) + (this.#added.get(row) ?? 0);
    if (demand.maxPerNode > 0 && copies >= demand.maxPerNode) return;
    const node = this.#table.node(row)!.name;
    const leaving = this.#occupancy.leaving(node);
    const gained = this.#gained.get(row);
    const short = demand.needs.map((need, dimension) =>
      need === 0 ? 0 : need - this.#table.free(dimension, row) - leaving[dimension]! - (gained?.[dimension] ?? 0),
    );
    const lower = this.#occupancy.occupants(node).filter((each) => bandOf(each.priority) < bandOf(priority) && this.#may(each));
    const victims = smallestSet(
      short,
      withinBudget(lower, (each) => this.#left(each)),
    );
    if (victims) this.#options.push({ row, victims });
  }

  #left(service: string): number {
    return this.#occupancy.budget(service) - (this.#spent.get(service) ?? 0);
  }

  #may({ id, service }: Occupant): boolean {
    return !this.#gone.has(id) && this.#left(service) > 0;
  }

  #overspends(victims: readonly Occupant[]): boolean {
    return withinBudget(victims, (service) => this.#left(service)).length < victims.length;
  }
}

/** Of each service as many as may go, the larger first. */
function withinBudget(occupants: readonly Occupant[], left: (service: string) => number): Occupant[] {
  const kept: Occupant[] = [];
  for (const [service, own] of Map.groupBy(occupants, (each) => each.service)) {
    const most = Math.max(0, left(service));
    kept.push(
      ...(own.length <= most ? own : own.toSorted((a, b) => b.needs[1]! - a.needs[1]! || b.needs[0]! - a.needs[0]!).slice(0, most)),
    );
  }
  return kept;
}

function highestBand(victims: readonly Occupant[]): number {
  return victims.reduce((band, { priority }) => Math.max(band, bandOf(priority)), Number.NEGATIVE_INFINITY);
}

function prioritySum(victims: readonly Occupant[]): number {
  return victims.reduce((sum, { priority }) => sum + priority, 0);
}

function cheaper({ victims: left }: Option, { victims: right }: Option): boolean {
  if (left.length === 0 || right.length === 0) return left.length < right.length;
  return (highestBand(left) - highestBand(right) || left.length - right.length || prioritySum(left) - prioritySum(right)) < 0;
}

function covers(short: Amounts, victims: readonly Occupant[]): boolean {
  return short.every((missing, dimension) => missing <= victims.reduce((sum, { needs }) => sum + needs[dimension]!, 0));
}

/**
 * The fewest that give back what is short, of the lowest bands that can; undefined when all together cannot. Exact up to three of
 * 24 candidates; beyond that a set of which no member can be spared.
 */
export function smallestSet(short: Amounts, candidates: readonly Occupant[]): Occupant[] | undefined {
  if (covers(short, [])) return [];
  const bands = [...new Set(candidates.map(({ priority }) => bandOf(priority)))].sort((a, b) => a - b);
  for (const band of bands) {
    const pool = candidates.filter(({ priority }) => bandOf(priority) <= band).sort((a, b) => a.priority - b.priority);
    if (covers(short, pool)) return (pool.length <= triedOut ? tryOut(short, pool) : undefined) ?? sparing(short, pool);
  }
  return undefined;
}

function tryOut(short: Amounts, pool: readonly Occupant[]): Occupant[] | undefined {
  for (let size = 1; size <= 3; size++) {
    const found = combinations(pool, size).filter((set) => covers(short, set));
    if (found.length > 0) return found.reduce((best, set) => (prioritySum(set) < prioritySum(best) ? set : best));
  }
  return undefined;
}

function combinations(pool: readonly Occupant[], size: number, from = 0): Occupant[][] {
  if (size === 0) return [[]];
  return pool.slice(from).flatMap((first, index) => combinations(pool, size - 1, from + index + 1).map((rest) => [first, ...rest]));
}

/** All, less each one that can be spared, those of high priority and small size first. */
function sparing(short: Amounts, pool: readonly Occupant[]): Occupant[] {
  const share = ({ needs }: Occupant): number =>
    short.reduce((sum, missing, dimension) => sum + (missing > 0 ? Math.min(1, needs[dimension]! / missing) : 0), 0);
  let kept = [...pool];
  for (const each of pool.toSorted((a, b) => bandOf(b.priority) - bandOf(a.priority) || share(a) - share(b))) {
    const without = kept.filter((other) => other !== each);
    if (covers(short, without)) kept = without;
  }
  return kept;
}
