import { attributeOf } from '../cluster/constraint.ts';
import type { NodeTable } from './node-table.ts';
import type { ServiceAffinity } from './ports.ts';
import { impossible, weights } from './score.ts';

/** Attributes whose domains are kept at a time. */
const attributesKept = 32;
const nothing: readonly number[] = [];

function isNode(attribute: string): boolean {
  return attribute === 'node.name' || attribute === 'node.id';
}

/** The value that the nodes of one domain have in common; undefined for a node that is in none. */
function domainOf(table: NodeTable, row: number, attribute: string): string | undefined {
  const node = table.node(row);
  return node && attributeOf(node, attribute);
}

/** Which rows have a value of an attribute, computed once for each state of the table's attributes. */
export class Domains {
  readonly #table: NodeTable;
  readonly #known = new Map<string, { shape: number; rows: ReadonlyMap<string, readonly number[]> }>();

  constructor(table: NodeTable) {
    this.#table = table;
  }

  /** Rows of a domain. */
  rows(attribute: string, value: string): readonly number[] {
    if (!isNode(attribute)) return this.#rowsByValue(attribute).get(value) ?? nothing;
    const row = this.#table.rowOf(value);
    return row === undefined ? nothing : [row];
  }

  #rowsByValue(attribute: string): ReadonlyMap<string, readonly number[]> {
    const { shape } = this.#table;
    const known = this.#known.get(attribute);
    if (known?.shape === shape) return known.rows;
    const rows = new Map<string, number[]>();
    for (let row = 0; row < this.#table.length; row++) {
      const value = domainOf(this.#table, row, attribute);
      if (value === undefined) continue;
      const members = rows.get(value);
      if (members) members.push(row);
      else rows.set(value, [row]);
    }
    this.#known.delete(attribute);
    this.#known.set(attribute, { shape, rows });
    for (const oldest of this.#known.keys()) if (this.#known.size > attributesKept) this.#known.delete(oldest);
    return rows;
  }
}

interface Rule {
  readonly affinity: ServiceAffinity;
  /** About the service itself: its first container may go anywhere. */
  readonly own: boolean;
  /** Domains where the other service is. */
  readonly present: Set<string>;
}

/** How a service's affinities stand on each row, while its containers are placed. */
export class Proximity {
  readonly #table: NodeTable;
  readonly #domains: Domains;
  readonly #rules: readonly Rule[];
  /** Share of the score that one preferred affinity has. */
  readonly #nearShare: number;
  readonly #apartShare: number;

  constructor(table: NodeTable, service: string, affinities: readonly ServiceAffinity[] = [], domains = new Domains(table)) {
    this.#table = table;
    this.#domains = domains;
    this.#rules = affinities.map((affinity) => ({
      affinity,
      own: affinity.service === service,
      present: domainsWith(table, affinity),
    }));
    const preferred = affinities.filter(({ required }) => !required);
    this.#nearShare = 1 / Math.max(1, preferred.filter(({ apart }) => !apart).length);
    this.#apartShare = 1 / Math.max(1, preferred.filter(({ apart }) => apart).length);
  }

  /** The first required affinity that the row does not hold. */
  broken(row: number): ServiceAffinity | undefined {
    return this.#rules.find((rule) => rule.affinity.required && !this.#holds(rule, row))?.affinity;
  }

  /** Shares, 0..1: preferred affinities that hold, and preferred anti-affinities that do not. */
  values(row: number): { near: number; apart: number } {
    let near = 0;
    let apart = 0;
    for (const rule of this.#rules) {
      const { affinity } = rule;
      if (affinity.required) continue;
      const together = this.#together(rule, row);
      if (together && affinity.apart) apart += this.#apartShare;
      if (together && !affinity.apart) near += this.#nearShare;
    }
    return { near, apart };
  }

  /** What the affinities add to a row's score: `impossible` where a required one does not hold. */
  score(row: number): number {
    if (this.broken(row)) return impossible;
    const { near, apart } = this.values(row);
    return weights.near * near + weights.apart * apart;
  }

  /** Rows to which the affinities may add something. */
  rows(): Set<number> {
    const rows = new Set<number>();
    for (const rule of this.#rules) {
      const { affinity, present } = rule;
      if (affinity.required && !affinity.apart) {
        for (let row = 0; row < this.#table.length; row++) if (!this.#holds(rule, row)) rows.add(row);
      } else {
        for (const value of present) for (const row of this.#domains.rows(affinity.within, value)) rows.add(row);
      }
    }
    return rows;
  }

  /** Notes a new container of the service itself; the rows to which the affinities add something else now. */
  placed(row: number): Iterable<number> {
    const changed = new Set<number>();
    for (const rule of this.#rules) {
      const { affinity, own, present } = rule;
      const value = own ? domainOf(this.#table, row, affinity.within) : undefined;
      if (value === undefined || present.has(value)) continue;
      present.add(value);
      const closes = affinity.required && !affinity.apart;
      if (closes) for (let other = 0; other < this.#table.length; other++) changed.add(other);
      else for (const other of this.#domains.rows(affinity.within, value)) changed.add(other);
    }
    return changed;
  }

  #holds(rule: Rule, row: number): boolean {
    const { affinity, own, present } = rule;
    if (affinity.apart) return !this.#together(rule, row);
    if (own && present.size === 0) return domainOf(this.#table, row, affinity.within) !== undefined;
    return this.#together(rule, row);
  }

  #together({ affinity, present }: Rule, row: number): boolean {
    if (present.size === 0) return false;
    const value = domainOf(this.#table, row, affinity.within);
    return value !== undefined && present.has(value);
  }
}

function domainsWith(table: NodeTable, { service, within }: ServiceAffinity): Set<string> {
  const values = new Set<string>();
  for (const row of table.copies(service).keys()) {
    const value = domainOf(table, row, within);
    if (value !== undefined) values.add(value);
  }
  return values;
}

/** "near shop/cache in the same node.zone", "apart from shop/db on its node". */
export function describeAffinity({ service, within, apart }: ServiceAffinity): string {
  const name = service.slice(service.indexOf('/') + 1);
  const where = isNode(within) ? (apart ? 'not on its nodes' : 'on one of its nodes') : `${apart ? 'not ' : ''}in the same ${within}`;
  return `${apart ? 'apart from' : 'near'} ${name}, ${where}`;
}
