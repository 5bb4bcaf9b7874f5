import { type Taint, TaintEffect } from '@gantry/proto';
import { describeAffinity } from './affinity.ts';
import { type Amounts, type Dimension, dimensions, formatAmount } from './dimensions.ts';
import { Engine } from './engine.ts';
import { attributeFilters, findEligible } from './filters.ts';
import type { NodeTable } from './node-table.ts';
import type { Demand, SchedulerNode, Strategy } from './ports.ts';
import { formatTaint, untolerated } from './taint.ts';

/** What is to be placed by some change. */
export interface Wish {
  readonly service: string;
  readonly demand: Demand;
  /** How many are to find a place. */
  readonly missing: number;
  readonly strategy: Strategy;
}

interface Candidate {
  readonly text: string;
  /** How much is given up, 0..1: the smaller ones are told first. */
  readonly cost: number;
  readonly demand?: Demand;
  /** A node to put in place of the present one, or beside the others. */
  readonly node?: SchedulerNode;
  readonly missing?: number;
}

const shown = 4;
const nodesTried = 3;

/**
 * Changes that would place all of the wish, the smallest first. Each one was tried: the placement was run with it and found room.
 * The table is as before afterwards.
 */
export function suggest(table: NodeTable, wish: Wish): string[] {
  const candidates = [
    ...lowerOne(table, wish),
    ...fewer(table, wish),
    ...withoutConstraint(wish),
    ...withoutAffinity(wish),
    ...tolerating(table, wish),
    ...uncordoned(table, wish),
    ...morePerNode(table, wish),
    ...addNode(table, wish),
  ];
  const working = candidates.filter((candidate) => places(table, wish, candidate));
  if (!working.some(({ cost }) => cost < 1))
    working.push(...[...lowerAll(table, wish)].filter((candidate) => places(table, wish, candidate)));
  return working
    .sort((a, b) => a.cost - b.cost)
    .slice(0, shown)
    .map(({ text }) => text);
}

/** Runs the placement with the change, and takes it back. */
function places(table: NodeTable, wish: Wish, candidate: Candidate): boolean {
  const { node } = candidate;
  const before = node && table.rowOf(node.name) !== undefined ? table.node(table.rowOf(node.name)!) : undefined;
  if (node) table.upsert(node);
  const ids = Array.from({ length: candidate.missing ?? wish.missing }, (_, number) => `trial ${number}`);
  const engine = new Engine(table, { strategy: wish.strategy });
  const { placed, refused } = engine.place({ service: wish.service, demand: candidate.demand ?? wish.demand, ids });
  for (const { id } of placed) table.release(wish.service, id);
  if (before) table.upsert(before);
  else if (node) table.remove(node.name);
  return refused.length === 0;
}

/** How many containers of the demand fit together, counted up to a bound. */
function roomFor(table: NodeTable, wish: Wish, needs: Amounts, rows: Uint8Array): number {
  const copies = table.copies(wish.service);
  let room = 0;
  for (let row = 0; row < rows.length && room < wish.missing; row++) {
    if (rows[row] !== 1) continue;
    let here = wish.demand.maxPerNode > 0 ? wish.demand.maxPerNode - (copies.get(row) ?? 0) : wish.missing;
    for (let dimension = 0; dimension < needs.length; dimension++) {
      const need = needs[dimension]!;
      if (need > 0) here = Math.min(here, Math.floor(table.free(dimension, row) / need));
    }
    room += Math.max(0, here);
  }
  return room;
}

const steps: Record<Dimension, { size: number; text: (amount: number) => string }> = {
  cpu: { size: 1, text: (millis) => `${millis}m` },
  memory: { size: 2 ** 20, text: (bytes) => `${bytes / 2 ** 20}Mi` },
  io: { size: 1e5, text: (rate) => `${rate / 1e6}MB/s` },
  network: { size: 1e5, text: (rate) => `${rate / 1e6}MB/s` },
  pids: { size: 1, text: String },
  disk: { size: 2 ** 20, text: (bytes) => `${bytes / 2 ** 20}Mi` },
};

/** Rounded down to what a manifest would say. */
function neat(dimension: number, amount: number): number {
  const { size } = steps[dimensions[dimension]!];
  return Math.floor(amount / size) * size;
}

function withNeed(demand: Demand, dimension: number, amount: number): Demand {
  const needs = demand.needs.slice();
  needs[dimension] = amount;
  return { ...demand, needs };
}

/** For each dimension alone: the largest amount with which all fit. */
function* lowerOne(table: NodeTable, wish: Wish): Iterable<Candidate> {
  const { rows } = findEligible(table, wish.demand);
  for (const [dimension, name] of dimensions.entries()) {
    const need = wish.demand.needs[dimension]!;
    const { size, text } = steps[name];
    let fits = 0;
    let tooMuch = Math.ceil(need / size);
    if (roomFor(table, wish, withNeed(wish.demand, dimension, size).needs, rows) < wish.missing) continue;
    while (tooMuch - fits > 1) {
      const middle = Math.floor((fits + tooMuch) / 2);
      if (roomFor(table, wish, withNeed(wish.demand, dimension, middle * size).needs, rows) >= wish.missing) fits = middle;
      else tooMuch = middle;
    }
    const amount = fits * size;
    if (amount < need / 100) continue;
    yield { text: `lower ${name} to ${text(amount)}`, cost: 0.5 * (1 - amount / need), demand: withNeed(wish.demand, dimension, amount) };
  }
}

/** All that the node nearest to having room is short of. */
function* lowerAll(table: NodeTable, wish: Wish): Iterable<Candidate> {
  const { rows } = findEligible(table, wish.demand);
  let best: { cost: number; needs: Amounts } | undefined;
  for (let row = 0; row < rows.length; row++) {
    if (rows[row] !== 1) continue;
    const needs = wish.demand.needs.map((need, dimension) => Math.min(need, neat(dimension, table.free(dimension, row) / wish.missing)));
    const cost = needs.reduce(
      (sum, amount, dimension) => sum + (amount < wish.demand.needs[dimension]! ? 1 - amount / wish.demand.needs[dimension]! : 0),
      0,
    );
    if (needs.some((amount, dimension) => amount <= 0 && wish.demand.needs[dimension]! > 0)) continue;
    if (!best || cost < best.cost) best = { cost, needs };
  }
  if (!best) return;
  const changes = dimensions.flatMap((name, dimension) => {
    const amount = best.needs[dimension]!;
    return amount < wish.demand.needs[dimension]! ? [`${name} to ${steps[name].text(amount)}`] : [];
  });
  yield { text: `lower ${changes.join(' and ')}`, cost: 0.9, demand: { ...wish.demand, needs: best.needs } };
}

/** As many as fit beside those that have a place already. */
function* fewer(table: NodeTable, wish: Wish): Iterable<Candidate> {
  const there = [...table.copies(wish.service).values()].reduce((sum, count) => sum + count, 0);
  const { rows } = findEligible(table, wish.demand);
  const fits = roomFor(table, wish, wish.demand.needs, rows);
  if (there + fits === 0 || wish.demand.pin) return;
  yield { text: `scale to ${there + fits}`, cost: 0.3 + (0.3 * wish.missing) / (there + wish.missing), missing: fits };
}

function* withoutConstraint({ demand }: Wish): Iterable<Candidate> {
  for (const constraint of demand.constraints) {
    const constraints = demand.constraints.filter((other) => other !== constraint);
    yield { text: `remove the constraint "${constraint.text}"`, cost: 0.7, demand: { ...demand, constraints } };
  }
}

function* withoutAffinity({ demand }: Wish): Iterable<Candidate> {
  const { affinities: all = [] } = demand;
  for (const affinity of all.filter(({ required }) => required)) {
    const affinities = all.map((other) => (other === affinity ? { ...other, required: false } : other));
    yield { text: `prefer "${describeAffinity(affinity)}" instead of requiring it`, cost: 0.4, demand: { ...demand, affinities } };
  }
}

function* tolerating(table: NodeTable, { demand }: Wish): Iterable<Candidate> {
  const tried = new Map<string, Taint>();
  for (const node of table.nodes()) {
    const taint = untolerated(node.taints, demand.tolerations, [TaintEffect.no_schedule, TaintEffect.no_execute]);
    if (taint && tried.size < nodesTried) tried.set(formatTaint(taint), taint);
  }
  for (const text of tried.keys()) {
    yield { text: `tolerate the taint "${text}"`, cost: 0.6, demand: { ...demand, tolerations: [...demand.tolerations, text] } };
  }
}

function* uncordoned(table: NodeTable, { demand }: Wish): Iterable<Candidate> {
  let tried = 0;
  for (const node of table.nodes()) {
    if (node.closed !== 'cordoned' || node.unready !== '' || tried === nodesTried) continue;
    const open: SchedulerNode = { ...node, closed: '' };
    if (!attributeFilters(demand).every((filter) => filter.check(open))) continue;
    tried++;
    yield { text: `uncordon node ${node.name}`, cost: 0.1, node: open };
  }
}

function* morePerNode(table: NodeTable, wish: Wish): Iterable<Candidate> {
  const { maxPerNode } = wish.demand;
  if (maxPerNode === 0) return;
  const { rows } = findEligible(table, wish.demand);
  const enough = (bound: number): boolean =>
    roomFor(table, { ...wish, demand: { ...wish.demand, maxPerNode: bound } }, wish.demand.needs, rows) >= wish.missing;
  let fails = maxPerNode;
  let works = maxPerNode + wish.missing;
  if (!enough(works)) return;
  while (works - fails > 1) {
    const middle = Math.floor((fails + works) / 2);
    if (enough(middle)) works = middle;
    else fails = middle;
  }
  yield { text: `raise max_replicas_per_node to ${works}`, cost: 0.2, demand: { ...wish.demand, maxPerNode: works } };
}

/** One more node: like the largest that passes the filters, or if none would do, of the shape that is needed. */
function* addNode(table: NodeTable, { demand, missing }: Wish): Iterable<Candidate> {
  if (demand.pin) return;
  const bare = { name: 'new node', hostname: 'new node', unready: '', closed: '', taints: [] };
  let largest: SchedulerNode | undefined;
  for (const node of table.nodes()) {
    const like = { ...node, ...bare };
    if (!attributeFilters(demand).every((filter) => filter.check(like))) continue;
    if (!largest || node.capacity[0]! > largest.capacity[0]!) largest = node;
  }
  const holds =
    largest !== undefined &&
    demand.needs.every(
      (need, dimension) => need * missing <= largest.capacity[dimension]! || (dimension > 3 && largest.capacity[dimension] === 0),
    );
  if (largest && holds) {
    yield { text: `add 1 node like ${largest.name}`, cost: 1, node: { ...largest, ...bare } };
    return;
  }
  const labels: Record<string, string> = { ...largest?.labels };
  const asked: string[] = [];
  for (const { attribute, operator, values, text } of demand.constraints) {
    if (!attribute.startsWith('node.labels.') || (operator !== '==' && operator !== 'in')) continue;
    labels[attribute.slice('node.labels.'.length)] = values[0]!;
    asked.push(text);
  }
  const capacity = demand.needs.map((need) => need * missing);
  const amounts = dimensions.flatMap((name, dimension) =>
    dimension < 4 && capacity[dimension]! > 0 ? [`${name} ${formatAmount(name, capacity[dimension]!)}`] : [],
  );
  const node: SchedulerNode = { os: largest?.os ?? 'linux', arch: largest?.arch ?? 'amd64', ...bare, labels, capacity };
  yield { text: `add 1 node with ${[...amounts, ...asked].join(', ')}`, cost: 1, node };
}
