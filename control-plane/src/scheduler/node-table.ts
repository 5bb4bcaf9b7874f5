import { type Amounts, dimensions, scoredDimensions } from './dimensions.ts';
import type { SchedulerNode } from './ports.ts';
import { tieBreak } from './tie.ts';

interface Charge {
  readonly row: number;
  readonly needs: Amounts;
}

/** What the containers of one service take. Kept by service: small maps stay in the caches of the processor. */
interface ServiceCharges {
  readonly byId: Map<string, Charge>;
  /** Containers by row. */
  readonly copies: Map<number, number>;
}

/** Numbers a row has in `cells`. */
export const stride = 12;
/** Where the inverse capacities begin. */
export const inverseAt = dimensions.length;
/** Where the tie-break stands. */
export const tieAt = inverseAt + scoredDimensions;

/** How many changes of rows are remembered; an index that is further behind is built anew. */
const journalSize = 1 << 16;

/**
 * All nodes as one row each of parallel typed arrays: what is free in each dimension, and who takes what.
 * Every change of a row's amounts is noted in a journal, so that an index over the rows can follow at the cost of the changes.
 */
export class NodeTable {
  /** Rows that were ever used; some of them may be empty. */
  length = 0;
  /** Counts up when a node joins, leaves or changes its attributes: what was computed from attributes is void then. */
  shape = 0;
  /** Changes of amounts so far: the journal's end. */
  sequence = 0;
  /**
   * Row by row, `stride` numbers each, so that a scan walks one array: what is free in each dimension (infinite where the capacity
   * is not known), then 1/capacity of the scored ones (0 for none) from `inverseAt`, then at `tieAt` a tiny number that decides
   * between nodes of equal score.
   */
  cells = new Float64Array(0);
  /** By row: number of the class of nodes with equal attributes, names aside; -1 for an empty row. */
  classOf = new Int32Array(0);
  readonly #seed: number;
  readonly #journal = new Int32Array(journalSize);
  readonly #nodes: (SchedulerNode | undefined)[] = [];
  readonly #rowOf = new Map<string, number>();
  readonly #rowNames: string[] = [];
  readonly #classes = new Map<string, number>();
  readonly #services = new Map<string, ServiceCharges>();
  readonly #chargesAt: number[] = [];
  readonly #used: Float64Array[] = dimensions.map(() => new Float64Array(0));
  readonly #spare: number[] = [];

  /** @param seed decides between equal nodes: the same seed, the same choice. */
  constructor(seed = 0) {
    this.#seed = seed;
  }

  /** The node of a row; undefined when it is not there (any more). */
  node(row: number): SchedulerNode | undefined {
    return this.#nodes[row];
  }

  /** Row of a node that is there. */
  rowOf(name: string): number | undefined {
    const row = this.#rowOf.get(name);
    return row === undefined || this.#nodes[row] === undefined ? undefined : row;
  }

  /** All nodes that are there. */
  *nodes(): IterableIterator<SchedulerNode> {
    for (const node of this.#nodes) if (node) yield node;
  }

  /** What is free on a row in one dimension. */
  free(dimension: number, row: number): number {
    return this.cells[row * stride + dimension]!;
  }

  /** What is taken on a row in one dimension. */
  used(dimension: number, row: number): number {
    return this.#used[dimension]![row]!;
  }

  /** Containers of a service by row. */
  copies(service: string): ReadonlyMap<number, number> {
    return this.#services.get(service)?.copies ?? none;
  }

  /** Rows changed since a sequence number, oldest first and maybe more than once; undefined when that is too long ago. */
  changedSince(sequence: number): Iterable<number> | undefined {
    if (this.sequence - sequence > journalSize) return undefined;
    return this.#changed(sequence);
  }

  *#changed(from: number): IterableIterator<number> {
    for (let at = from; at < this.sequence; at++) yield this.#journal[at & (journalSize - 1)]!;
  }

  /** Adds a node or takes over its new attributes and capacity. */
  upsert(node: SchedulerNode): void {
    const row = this.#ensureRow(node.name);
    const before = this.#nodes[row];
    this.#nodes[row] = node;
    const signature = classSignature(node);
    let number = this.#classes.get(signature);
    if (number === undefined) {
      number = this.#classes.size;
      this.#classes.set(signature, number);
    }
    if (!before || this.classOf[row] !== number || before.hostname !== node.hostname) this.shape++;
    this.classOf[row] = number;
    for (let dimension = 0; dimension < dimensions.length; dimension++) this.#refresh(dimension, row);
    this.#note(row);
  }

  /** Takes a node away; what is charged to it stays charged in case it comes back. */
  remove(name: string): void {
    const row = this.#rowOf.get(name);
    if (row === undefined || this.#nodes[row] === undefined) return;
    this.#nodes[row] = undefined;
    this.classOf[row] = -1;
    this.shape++;
    this.#reclaim(row);
  }

  /** Books a container of a service on a node; the same id again changes nothing unless node or needs differ. */
  charge(service: string, id: string, node: string, needs: Amounts): void {
    const known = this.#services.get(service)?.byId.get(id);
    if (known) {
      if (this.#rowNames[known.row] === node && known.needs.every((need, dimension) => need === needs[dimension])) return;
      this.release(service, id);
    }
    this.chargeRow(service, id, this.#ensureRow(node), needs);
  }

  /** As charge, by row, for a new id. Returns how many containers of the service are there now. */
  chargeRow(service: string, id: string, row: number, needs: Amounts): number {
    let charges = this.#services.get(service);
    if (!charges) {
      charges = { byId: new Map(), copies: new Map() };
      this.#services.set(service, charges);
    }
    charges.byId.set(id, { row, needs });
    this.#apply(row, needs, 1);
    const count = (charges.copies.get(row) ?? 0) + 1;
    charges.copies.set(row, count);
    this.#chargesAt[row] = this.#chargesAt[row]! + 1;
    return count;
  }

  /** Gives back what a container had. */
  release(service: string, id: string): void {
    const charges = this.#services.get(service);
    const charge = charges?.byId.get(id);
    if (!charges || !charge) return;
    const { row, needs } = charge;
    charges.byId.delete(id);
    if (charges.byId.size === 0) this.#services.delete(service);
    const left = charges.copies.get(row)! - 1;
    if (left > 0) charges.copies.set(row, left);
    else charges.copies.delete(row);
    this.#apply(row, needs, -1);
    this.#chargesAt[row] = this.#chargesAt[row]! - 1;
    this.#reclaim(row);
  }

  /** All containers that are charged. */
  *charged(): IterableIterator<{ service: string; id: string }> {
    for (const [service, { byId }] of this.#services) for (const id of byId.keys()) yield { service, id };
  }

  /** A copy to try things on. */
  clone(): NodeTable {
    const copy = new NodeTable(this.#seed);
    for (const node of this.nodes()) copy.upsert(node);
    for (const [service, { byId }] of this.#services) {
      for (const [id, { row, needs }] of byId) copy.charge(service, id, this.#rowNames[row]!, needs);
    }
    return copy;
  }

  #apply(row: number, needs: Amounts, sign: 1 | -1): void {
    for (let dimension = 0; dimension < needs.length; dimension++) {
      const need = needs[dimension]!;
      if (need === 0) continue;
      this.#used[dimension]![row]! += sign * need;
      this.cells[row * stride + dimension]! -= sign * need;
    }
    this.#note(row);
  }

  #refresh(dimension: number, row: number): void {
    const capacity = this.#nodes[row]?.capacity[dimension] ?? 0;
    const scored = dimension < scoredDimensions;
    const cell = row * stride;
    this.cells[cell + dimension] = capacity === 0 && !scored ? Number.POSITIVE_INFINITY : capacity - this.#used[dimension]![row]!;
    if (scored) this.cells[cell + inverseAt + dimension] = capacity === 0 ? 0 : 1 / capacity;
  }

  #note(row: number): void {
    this.#journal[this.sequence & (journalSize - 1)] = row;
    this.sequence++;
  }

  #ensureRow(name: string): number {
    const known = this.#rowOf.get(name);
    if (known !== undefined) return known;
    const row = this.#spare.pop() ?? this.length++;
    if (row >= this.classOf.length) this.#grow();
    this.#rowOf.set(name, row);
    this.#rowNames[row] = name;
    this.#nodes[row] = undefined;
    this.#chargesAt[row] = 0;
    this.classOf[row] = -1;
    this.cells[row * stride + tieAt] = tieBreak(this.#seed, name);
    for (let dimension = 0; dimension < dimensions.length; dimension++) {
      this.#used[dimension]![row] = 0;
      this.#refresh(dimension, row);
    }
    this.shape++;
    return row;
  }

  #reclaim(row: number): void {
    if (this.#nodes[row] !== undefined || this.#chargesAt[row] !== 0) return;
    this.#rowOf.delete(this.#rowNames[row]!);
    this.#spare.push(row);
  }

  #grow(): void {
    const size = Math.max(64, this.classOf.length * 2);
    const wider = (column: Float64Array, length: number): Float64Array<ArrayBuffer> => {
      const next = new Float64Array(length);
      next.set(column);
      return next;
    };
    this.cells = wider(this.cells, size * stride);
    for (const [dimension, column] of this.#used.entries()) this.#used[dimension] = wider(column, size);
    const classes = new Int32Array(size).fill(-1);
    classes.set(this.classOf);
    this.classOf = classes;
  }
}

const none: ReadonlyMap<number, number> = new Map();

/** Equal for nodes between which no filter can tell, but by name. */
function classSignature(node: SchedulerNode): string {
  const labels = Object.entries(node.labels).sort(([left], [right]) => (left < right ? -1 : 1));
  return JSON.stringify([labels, node.taints, node.os, node.arch, node.kernel, node.unready, node.closed]);
}
