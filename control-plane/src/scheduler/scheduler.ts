import type { Clock } from '@gantry/common';
import {
  type Assignment,
  type NodeScore,
  NodeSettingsAvailability,
  NodeState,
  type Refusal,
  type ServiceSpec,
  TaintEffect,
} from '@gantry/proto';
import { satisfies } from '../cluster/constraint.ts';
import type { Change, ClusterView } from '../cluster/view.ts';
import { serviceId } from '../cluster/view.ts';
import { ApartIndex } from './apart-index.ts';
import { type DemandContext, demandOf } from './demand.ts';
import { amountsOf } from './dimensions.ts';
import { type DryRun, type DryService, planPlacements } from './dry-run.ts';
import { Engine } from './engine.ts';
import { explainRefusal } from './explain.ts';
import { NodeTable } from './node-table.ts';
import { hasEnded, needsOf, occupancyOf } from './occupancy.ts';
import type { Demand, SchedulerNode, Strategy } from './ports.ts';
import { bandOf, chooseVictims } from './preempt.ts';
import { untolerated } from './taint.ts';

export interface SchedulerOptions {
  view: ClusterView;
  /** Dates the refusals of dry runs. */
  clock: Clock;
  /** For services that name none. Default binpack. */
  strategy?: Strategy;
  /** Decides between equal nodes. Default 0. */
  seed?: number;
  /** Ends following the view. */
  signal: AbortSignal;
}

/** Containers of one service and revision that need nodes. */
export interface Wanted {
  readonly service: string;
  readonly spec: ServiceSpec;
  readonly replicas: number;
  readonly ids: readonly string[];
  readonly pin?: { readonly node: string; readonly reason: string };
  readonly crashes?: ReadonlyMap<string, number>;
  readonly scores?: boolean;
}

/** Containers of one service that found no place. */
export interface Squeezed extends Pick<Wanted, 'service' | 'spec' | 'replicas' | 'pin'> {
  readonly missing: number;
}

export interface Outcome {
  readonly placed: readonly { readonly id: string; readonly node: string; readonly scores: NodeScore[] }[];
  readonly refused: readonly string[];
  /** Why the refused ones found no place. */
  readonly explain: (sinceUs: number) => Refusal;
}

/**
 * The engine on the living cluster: its table follows the view. It must be made before whoever plans on it starts to listen to the
 * view, so that the table is never behind the planner.
 */
export class ClusterScheduler {
  readonly #view: ClusterView;
  readonly #clock: Clock;
  readonly #table: NodeTable;
  readonly #engine: Engine;
  readonly #strategy: Strategy;
  readonly #apart = new ApartIndex();

  constructor(options: SchedulerOptions) {
    const { view, clock, strategy = 'binpack', seed = 0, signal } = options;
    this.#view = view;
    this.#clock = clock;
    this.#strategy = strategy;
    this.#table = new NodeTable(seed);
    this.#engine = new Engine(this.#table, { strategy });
    for (const name of view.nodes.keys()) this.#followNode(name);
    for (const { value } of view.assignments.values()) this.#followContainer(value);
    for (const [id, { value }] of view.services) this.#apart.set(id, value.spec);
    const unfollow = view.onChange((changes) => this.#follow(changes));
    signal.addEventListener('abort', unfollow, { once: true });
  }

  /**
   * Where the containers of all services together would go; changes nothing.
   * @throws GantryError invalidArgument when a constraint cannot be read.
   */
  plan(services: readonly DryService[]): DryRun {
    const input = {
      view: this.#view,
      table: this.#table.clone(),
      apart: this.#apart.clone(),
      strategy: this.#strategy,
      nowUs: this.#clock.nowUs(),
    };
    return planPlacements(input, services);
  }

  /**
   * Finds nodes. What is placed is charged at once, until it is released or the view shows that it ended.
   * @throws GantryError invalidArgument when a constraint cannot be read.
   */
  place(wanted: Wanted): Outcome {
    const { service, spec, replicas, ids, pin, crashes, scores } = wanted;
    const demand = demandOf(spec, { service, keptApart: this.#apart.from(service), replicas, ...(pin && { pin }) });
    const { placed, refused } = this.#engine.place({ service, demand, ids, ...(crashes && { crashes }), scores: scores ?? false });
    const explain = (sinceUs: number): Refusal =>
      explainRefusal(this.#table, { service, demand, missing: refused.length, sinceUs, strategy: this.#strategy });
    return { placed, refused, explain };
  }

  /**
   * Running containers, of lower bands only, that would have to stop so that the missing ones find room; none when room is coming
   * already, or would not come of it.
   * @throws GantryError invalidArgument when a constraint cannot be read.
   */
  makeRoom({ service, spec, replicas, missing, pin }: Squeezed): string[] {
    const band = bandOf(spec.priority);
    // Most clusters have one band: nothing is looked at then.
    const isLower = ({ value }: { value: { spec: ServiceSpec | null } }) => bandOf(value.spec?.priority ?? 0) < band;
    if (![...this.#view.services.values()].some(isLower)) return [];
    const demand = demandOf(spec, { service, keptApart: this.#apart.from(service), replicas, ...(pin && { pin }) });
    const wish = { service, demand, priority: spec.priority, missing };
    return chooseVictims(this.#table, wish, occupancyOf(this.#view)).map(({ id }) => id);
  }

  /** Takes back a placement that came to nothing. */
  release(service: string, id: string): void {
    this.#table.release(service, id);
  }

  /** Takes back everything that the view does not show: what an earlier planner placed and did not commit. */
  reset(): void {
    for (const { service, id } of [...this.#table.charged()]) if (!this.#view.assignments.has(id)) this.#table.release(service, id);
  }

  /** Nodes that may take a container of the spec now, room aside. */
  eligibleNodes(spec: ServiceSpec): string[] {
    return this.#engine.eligibleNodes(demandOf(spec));
  }

  /** Whether a container of the spec may go on running there. A node that is not known may keep what it has. */
  mayStay(spec: ServiceSpec, node: string): boolean {
    const row = this.#table.rowOf(node);
    if (row === undefined) return true;
    return mayStayOn(demandOf(spec, noContext), this.#table.node(row)!);
  }

  #follow(changes: readonly Change[]): void {
    for (const change of changes) {
      const { collection, id } = change;
      if (collection === 'nodes' || collection === 'machines') this.#followNode(id);
      else if (collection === 'services') this.#apart.set(id, change.value?.spec);
      else if (collection === 'assignments') this.#followContainer(change.value ?? change.previous);
      else if (collection === 'statuses') this.#followContainer(this.#view.assignments.get(id)?.value);
      else if (collection === 'gateways') for (const name of this.#view.nodes.keys()) this.#followNode(name);
    }
  }

  #followNode(name: string): void {
    const node = nodeOf(this.#view, name);
    if (node) this.#table.upsert(node);
    else this.#table.remove(name);
  }

  #followContainer(assignment: Assignment | undefined): void {
    if (!assignment?.key) return;
    const { id, key, node } = assignment;
    const stands = this.#view.assignments.has(id) && !hasEnded(assignment, this.#view.statuses.get(id)?.value);
    if (stands) this.#table.charge(serviceId(key), id, node, needsOf(assignment));
    else this.#table.release(serviceId(key), id);
  }
}

const noContext: DemandContext = {};

/** A node as the scheduler sees it; undefined when it is no member or has never shown itself. */
function nodeOf(view: ClusterView, name: string): SchedulerNode | undefined {
  const settings = view.nodes.get(name)?.value;
  const machine = view.machines.get(name)?.value;
  if (!settings || settings.removed || !machine?.capacity) return undefined;
  const state = view.nodeState(name);
  return {
    name,
    hostname: machine.hostname || name,
    os: machine.os || 'linux',
    arch: machine.arch,
    kernel: machine.kernel,
    labels: { ...machine.labels, ...settings.labels },
    taints: settings.taints,
    unready: state === NodeState.ready ? '' : state === NodeState.lost ? 'lost' : 'not connected',
    closed: closedBy(settings.availability),
    capacity: amountsOf(machine.capacity, { pids: machine.pids, diskBytes: machine.diskBytes }),
  };
}

function closedBy(availability: NodeSettingsAvailability): string {
  if (availability === NodeSettingsAvailability.active) return '';
  return availability === NodeSettingsAvailability.cordoned ? 'cordoned' : 'draining';
}

function mayStayOn(demand: Demand, node: SchedulerNode): boolean {
  if (untolerated(node.taints, demand.tolerations, [TaintEffect.no_execute])) return false;
  return demand.constraints.every((constraint) => satisfies(constraint, node));
}
