import { type FilterCount, type NearMiss, Refusal, type Shortfall } from '@gantry/proto';
import { attributeOf } from '../cluster/constraint.ts';
import { describeAffinity, Proximity } from './affinity.ts';
import { type Amounts, dimensions, formatAmount } from './dimensions.ts';
import { attributeFilters, type Filter } from './filters.ts';
import type { NodeTable } from './node-table.ts';
import type { Demand, SchedulerNode, Strategy } from './ports.ts';
import { suggest } from './suggest.ts';

/** Containers of one service that found no place. */
export interface RefusedRequest {
  readonly service: string;
  readonly demand: Demand;
  /** How many have no place. */
  readonly missing: number;
  /** Since when, microseconds since the epoch. */
  readonly sinceUs: number;
  /** What the cluster does for demands that name no strategy. */
  readonly strategy: Strategy;
}

const nearestShown = 3;

interface Stage {
  readonly name: string;
  readonly need: string;
  readonly check: (row: number) => boolean;
  readonly explain: (row: number) => string;
}

/** Why the containers have no place: the funnel of filters, the nodes that came nearest, and what would help. Leaves the table as it was. */
export function explainRefusal(table: NodeTable, request: RefusedRequest): Refusal {
  const all: number[] = [];
  for (let row = 0; row < table.length; row++) if (table.node(row)) all.push(row);
  const stages = stagesOf(table, request);
  const funnel: FilterCount[] = [];
  let left = all;
  let last: { stage: Stage; before: number[] } | undefined;
  for (const stage of stages) {
    const passed = left.filter((row) => stage.check(row));
    funnel.push({ filter: stage.name, need: stage.need, passed: passed.length, rejected: left.length - passed.length });
    if (passed.length < left.length) last = { stage, before: left };
    left = passed;
    if (left.length === 0) break;
  }
  const fits = stages.filter(({ name }) => !isDimension(name)).reduce((rows, stage) => rows.filter((row) => stage.check(row)), all);
  const nearest = fits.length > 0 ? nearestByAmounts(table, fits, request.demand) : nearestByFilters(table, last);
  return Refusal.create({
    message: messageOf(table, request, all.length, last, nearest),
    nodes: all.length,
    funnel,
    nearest,
    suggestions: suggest(table, request),
    since: request.sinceUs,
  });
}

function isDimension(name: string): boolean {
  return (dimensions as readonly string[]).includes(name);
}

function stagesOf(table: NodeTable, { demand, service }: RefusedRequest): Stage[] {
  const ofFilter = (filter: Filter): Stage => ({
    name: filter.name,
    need: filter.need,
    check: (row) => filter.check(table.node(row) as SchedulerNode),
    explain: (row) => filter.explain(table.node(row) as SchedulerNode),
  });
  const stages = attributeFilters(demand).map(ofFilter);
  const copies = table.copies(service);
  if (demand.maxPerNode > 0) {
    stages.push({
      name: 'max per node',
      need: `at most ${demand.maxPerNode} a node`,
      check: (row) => (copies.get(row) ?? 0) < demand.maxPerNode,
      explain: (row) => `${copies.get(row) ?? 0} of the service there`,
    });
  }
  for (const affinity of (demand.affinities ?? []).filter(({ required }) => required)) {
    const proximity = new Proximity(table, service, [affinity]);
    const need = describeAffinity(affinity);
    stages.push({
      name: affinity.apart ? 'anti-affinity' : 'affinity',
      need,
      check: (row) => proximity.broken(row) === undefined,
      explain: (row) => `${affinity.within} is ${attributeOf(table.node(row)!, affinity.within) ?? 'not set'}`,
    });
  }
  for (const [dimension, name] of dimensions.entries()) {
    const need = demand.needs[dimension]!;
    if (need === 0) continue;
    stages.push({
      name,
      need: `${name} ${formatAmount(name, need)}`,
      check: (row) => table.free(dimension, row) >= need,
      explain: (row) => `${name} ${formatAmount(name, Math.max(0, table.free(dimension, row)))} free`,
    });
  }
  return stages;
}

function shortfallsOf(table: NodeTable, row: number, needs: Amounts): Shortfall[] {
  const shortfalls: Shortfall[] = [];
  for (const [dimension, name] of dimensions.entries()) {
    const needed = needs[dimension]!;
    const free = Math.max(0, table.free(dimension, row));
    if (needed === 0 || free >= needed) continue;
    shortfalls.push({ dimension: name, needed, free, capacity: table.node(row)!.capacity[dimension]!, missing: needed - free });
  }
  return shortfalls;
}

/** Sum over the dimensions of the missing share of the need. */
function distance(shortfalls: readonly Shortfall[]): number {
  return shortfalls.reduce((sum, { missing, needed }) => sum + missing / needed, 0);
}

function nearestByAmounts(table: NodeTable, rows: readonly number[], demand: Demand): NearMiss[] {
  return rows
    .map((row) => ({ row, shortfalls: shortfallsOf(table, row, demand.needs) }))
    .sort((a, b) => distance(a.shortfalls) - distance(b.shortfalls) || (table.node(a.row)!.name < table.node(b.row)!.name ? -1 : 1))
    .slice(0, nearestShown)
    .map(({ row, shortfalls }) => ({
      node: table.node(row)!.name,
      filter: shortfalls[0]?.dimension ?? '',
      shortfalls,
      detail: shortfalls.map((short) => `${short.dimension} ${describeShort(short)}`).join(', '),
    }));
}

function describeShort({ dimension, missing, free, capacity }: Shortfall): string {
  const name = dimension as (typeof dimensions)[number];
  return `short ${formatAmount(name, missing)}, ${formatAmount(name, free)} free of ${formatAmount(name, capacity)}`;
}

function nearestByFilters(table: NodeTable, last: { stage: Stage; before: number[] } | undefined): NearMiss[] {
  if (!last) return [];
  return last.before
    .map((row) => ({ node: table.node(row)!.name, filter: last.stage.name, shortfalls: [], detail: last.stage.explain(row) }))
    .sort((a, b) => (a.node < b.node ? -1 : 1))
    .slice(0, nearestShown);
}

function messageOf(
  table: NodeTable,
  { demand, service }: RefusedRequest,
  nodes: number,
  last: { stage: Stage; before: number[] } | undefined,
  nearest: readonly NearMiss[],
): string {
  if (nodes === 0) return 'there is no node yet';
  if (demand.pin) return pinnedMessage(table, service, demand, demand.pin);
  const count = nodes === 1 ? '1 node' : `${nodes} nodes`;
  if (!last) return `no node has room for all of it: ${count}`;
  const { stage, before } = last;
  if (!isDimension(stage.name)) {
    const reached = before.length === nodes ? '' : `, ${before.length} of them got that far`;
    return `no node passes "${stage.need}": ${count}${reached}; ${nearest[0]?.node ?? ''}: ${nearest[0]?.detail ?? ''}`;
  }
  const dimension = dimensions.indexOf(stage.name as (typeof dimensions)[number]);
  const best = before.reduce((a, b) => (table.free(dimension, b) > table.free(dimension, a) ? b : a));
  const free = formatAmount(dimensions[dimension]!, Math.max(0, table.free(dimension, best)));
  const among = before.length === nodes ? count : `${before.length} of ${count} left`;
  return `no node has ${stage.need} free: ${among}, most free ${table.node(best)!.name} with ${free}`;
}

function pinnedMessage(table: NodeTable, service: string, demand: Demand, pin: NonNullable<Demand['pin']>): string {
  const row = table.rowOf(pin.node);
  const where = `${pin.reason} is on ${pin.node}`;
  if (row === undefined) return `${where}, which is not there`;
  const failed = attributeFilters(demand).find((filter) => !filter.check(table.node(row)!));
  if (failed) return `${where}, which does not pass "${failed.need}": ${failed.explain(table.node(row)!)}`;
  const broken = new Proximity(table, service, demand.affinities).broken(row);
  if (broken) return `${where}, which is not ${describeAffinity(broken)}`;
  const shortfalls = shortfallsOf(table, row, demand.needs);
  if (shortfalls.length === 0) return `${where}, which has as many of the service as it may have`;
  return `${where}, which has no room: ${shortfalls.map((short) => `${short.dimension} ${describeShort(short)}`).join(', ')}`;
}
