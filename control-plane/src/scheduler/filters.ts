import { TaintEffect } from '@gantry/proto';
import { attributeOf, type Constraint, satisfies } from '../cluster/constraint.ts';
import type { NodeTable } from './node-table.ts';
import type { Demand, SchedulerNode } from './ports.ts';
import { formatTaint, untolerated } from './taint.ts';

/** One condition on a node's attributes: whether it holds, and how it failed. */
export interface Filter {
  readonly name: string;
  /** What was asked for, "node.labels.disk == ssd". */
  readonly need: string;
  readonly check: (node: SchedulerNode) => boolean;
  /** Why `check` was false, "disk is hdd". */
  readonly explain: (node: SchedulerNode) => string;
  /** Can tell apart nodes whose attributes are equal but for their names. */
  readonly perNode: boolean;
}

const refusing = [TaintEffect.no_schedule, TaintEffect.no_execute];

const ready: Filter = {
  name: 'ready',
  need: 'ready node',
  check: (node) => node.unready === '',
  explain: (node) => node.unready,
  perNode: false,
};

const open: Filter = {
  name: 'available',
  need: 'active node',
  check: (node) => node.closed === '',
  explain: (node) => node.closed,
  perNode: false,
};

function taintFilter(tolerations: readonly string[]): Filter {
  return {
    name: 'taints',
    need: tolerations.length === 0 ? 'no taints' : `no taints but ${tolerations.join(', ')}`,
    check: (node) => node.taints.length === 0 || untolerated(node.taints, tolerations, refusing) === undefined,
    explain: (node) => {
      const taint = untolerated(node.taints, tolerations, refusing);
      return taint ? `taint ${formatTaint(taint)}` : '';
    },
    perNode: false,
  };
}

function constraintFilter(constraint: Constraint): Filter {
  return {
    name: 'constraint',
    need: constraint.text,
    check: (node) => satisfies(constraint, node),
    explain: (node) => `${constraint.attribute} is ${attributeOf(node, constraint.attribute) ?? 'not set'}`,
    perNode: constraint.perNode,
  };
}

function pinFilter(pin: NonNullable<Demand['pin']>): Filter {
  return {
    name: 'pin',
    need: `${pin.reason} on ${pin.node}`,
    check: (node) => node.name === pin.node,
    explain: () => `${pin.reason} is on ${pin.node}`,
    perNode: true,
  };
}

/** The filters that look at attributes only, in the order of the funnel. */
export function attributeFilters(demand: Demand): Filter[] {
  const filters = [ready, open, taintFilter(demand.tolerations), ...demand.constraints.map(constraintFilter)];
  if (demand.pin) filters.push(pinFilter(demand.pin));
  return filters;
}

/** Which rows pass the attribute filters, for one state of the table's attributes. */
export interface Eligibility {
  readonly shape: number;
  /** 1 for rows that pass. */
  readonly rows: Uint8Array;
  /** 1 for rows with a taint that asks to be avoided. */
  readonly avoided: Uint8Array;
}

/** Equal for demands that the same nodes are eligible for. */
export function eligibilityKey(demand: Demand): string {
  return `${demand.constraints.map(({ text }) => text).join('&')}|${demand.tolerations.join()}|${demand.pin?.node ?? ''}`;
}

/** Asks the filters once for each class of equal nodes, and once for each node only where a filter looks at names. */
export function findEligible(table: NodeTable, demand: Demand): Eligibility {
  const filters = attributeFilters(demand);
  const shared = filters.filter(({ perNode }) => !perNode);
  const single = filters.filter(({ perNode }) => perNode);
  const byClass = new Map<number, { passes: boolean; avoided: boolean }>();
  const rows = new Uint8Array(table.length);
  const avoided = new Uint8Array(table.length);
  for (let row = 0; row < table.length; row++) {
    const node = table.node(row);
    if (!node) continue;
    let verdict = byClass.get(table.classOf[row]!);
    if (!verdict) {
      verdict = { passes: shared.every((filter) => filter.check(node)), avoided: isAvoided(node, demand) };
      byClass.set(table.classOf[row]!, verdict);
    }
    if (!verdict.passes || !single.every((filter) => filter.check(node))) continue;
    rows[row] = 1;
    if (verdict.avoided) avoided[row] = 1;
  }
  return { shape: table.shape, rows, avoided };
}

/** Whether the node has a taint that asks to be avoided and that the demand does not stand. */
export function isAvoided(node: SchedulerNode, demand: Demand): boolean {
  return node.taints.length > 0 && untolerated(node.taints, demand.tolerations, [TaintEffect.prefer_no_schedule]) !== undefined;
}
