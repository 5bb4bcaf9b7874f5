import { Code, GantryError } from '@gantry/common';
import { AssignmentDesired, type EnrollRequest, type EnrollResponse } from '@gantry/proto';
import { type Change, type ClusterView, serviceId } from '../cluster/view.ts';
import { AgentStreamBroker, type AgentStreams } from './agent-streams.ts';
import { containerEvents } from './container-events.ts';
import { EndpointTable } from './endpoint-table.ts';
import { Housekeeping } from './housekeeping.ts';
import { Liveness } from './liveness.ts';
import { defaultLivenessRules } from './liveness-plan.ts';
import type { GatewayOptions } from './ports.ts';
import { keepPresence } from './presence.ts';
import { forgetEarlierAgent } from './registration.ts';
import { Rendezvous } from './rendezvous.ts';
import type { Session } from './session.ts';
import { Sessions } from './sessions.ts';
import { StatusWriter } from './status-writer.ts';
import { StopHolds } from './stop-holds.ts';
import { type NodeReport, UsageTable } from './usage-table.ts';

/** Longest that a container which is to stop waits for everybody to send it no more traffic. */
const holdMs = 2000;
/** Longest that an agent's enrolment waits for the view to show its node. */
const enrolMs = 5000;

/** Everything that stands between the agents and the rest of the control plane. */
export class Gateway {
  readonly usage = new UsageTable();
  readonly sessions: Sessions;
  readonly broker: AgentStreamBroker;
  readonly #options: GatewayOptions;
  readonly #endpoints: EndpointTable;
  readonly #holds: StopHolds;
  readonly #writer: StatusWriter;
  readonly #liveness: Liveness;
  readonly #housekeeping: Housekeeping;
  readonly #ended = new AbortController();
  readonly #presence: Promise<void>;
  readonly #unsubscribe: () => void;

  /** The view must be synced. */
  constructor(options: GatewayOptions) {
    const { view, store, clock, log, random, emit, id } = options;
    const rules = options.rules ?? defaultLivenessRules;
    this.#options = options;
    this.#endpoints = new EndpointTable(view);
    this.#holds = new StopHolds(clock, holdMs, (container) => this.#released(container));
    this.#writer = new StatusWriter({
      store,
      clock,
      log,
      random,
      isAssigned: (node, container) => view.assignments.get(container)?.value.node === node,
      stored: (container) => storedStatus(view, container),
      onDurable: (node) => this.sessions.get(node)?.statusesDurable(),
      signal: this.#ended.signal,
    });
    this.#liveness = new Liveness({
      gateway: id,
      store,
      view,
      clock,
      log,
      emit,
      rules,
      onSilent: (node, reason) => this.sessions.end(node, reason),
    });
    this.#housekeeping = new Housekeeping({ store, view, clock, log, signal: this.#ended.signal });
    this.broker = new AgentStreamBroker({ rendezvous: new Rendezvous(clock), clock, session: (node) => this.#sessionOf(node) });
    this.sessions = new Sessions({
      gateway: options,
      rules,
      endpoints: this.#endpoints,
      holds: this.#holds,
      writer: this.#writer,
      usage: this.usage,
      liveness: this.#liveness,
      onInventory: (node, inventory) => this.broker.inventory(node, inventory),
    });
    this.#unsubscribe = view.onChange((changes) => this.#onChange(changes));
    this.#presence = keepPresence({ ...options, signal: this.#ended.signal }, () => this.#liveness.observe());
  }

  /** Streams to agents. */
  get streams(): AgentStreams {
    return this.broker;
  }

  /** Statuses that wait for the store, and orders to stop that wait for their time. */
  get queues(): { statuses: number; holds: number; braked: number } {
    return { statuses: this.#writer.waiting, holds: this.#holds.size, braked: this.#liveness.braked.size };
  }

  /** Takes over what a node has reported to another gateway. */
  learn({ node, usage, containers }: NodeReport): void {
    const { assignments } = this.#options.view;
    this.usage.learn({ node, usage, containers: new Map([...containers].filter(([id]) => assignments.get(id)?.value.node === node)) });
  }

  /** A certificate for a join token; the view shows the node when it returns. */
  async enroll(request: EnrollRequest, signal: AbortSignal): Promise<EnrollResponse> {
    const { enrolment, view } = this.#options;
    const { response, revision } = await enrolment.enroll(request);
    await forgetEarlierAgent(this.#options, request.node);
    await view.atLeast(revision, AbortSignal.any([signal, AbortSignal.timeout(enrolMs)]));
    return response;
  }

  /** Ends all sessions and takes this gateway's record away: agents go to another gateway at once. */
  async stop(): Promise<void> {
    this.#unsubscribe();
    this.sessions.endAll('the control plane is stopping');
    this.#ended.abort();
    this.#holds.stop();
    await Promise.all([this.#liveness.stop(), this.#presence]);
  }

  #sessionOf(node: string): Session {
    const session = this.sessions.get(node);
    if (session?.isActive) return session;
    const { view, id } = this.#options;
    const holder = view.gateways.get(view.machines.get(node)?.value.gateway ?? '')?.value;
    if (holder && holder.id !== id) {
      throw new GantryError(
        Code.unavailable,
        `cannot reach node "${node}" from here: the control plane at ${holder.address} holds its session`,
        {
          details: { hint: `ask that one: --address ${holder.address}` },
        },
      );
    }
    throw new GantryError(Code.unavailable, `cannot reach node "${node}": its agent is not connected`);
  }

  #released(container: string): void {
    const node = this.#options.view.assignments.get(container)?.value.node;
    if (node !== undefined) this.sessions.get(node)?.assignmentChanged(container);
    else for (const session of this.sessions.active) session.assignmentChanged(container);
  }

  #onChange(changes: readonly Change[]): void {
    const services = new Set<string>();
    for (const change of changes) this.#collect(change, services);
    const wereServing = changes.filter((change) => stops(change) && this.#endpoints.isServing(change.id)).map((change) => change.id);
    const changed = this.#endpoints.refresh(services);
    if (changed.length > 0) for (const session of this.sessions.active) session.endpointsChanged(changed);
    for (const container of wereServing) {
      if (!this.#endpoints.isServing(container)) this.#holds.hold(container, this.#endpoints.version, this.sessions.active);
    }
    let network = false;
    for (const change of changes) network = this.#distribute(change) || network;
    if (network) for (const session of this.sessions.active) session.networkChanged();
    this.#housekeeping.look(changes);
  }

  /** Notes the services whose endpoints a change may touch. */
  #collect(change: Change, services: Set<string>): void {
    const { view } = this.#options;
    if (change.collection === 'services') services.add(change.id);
    else if (change.collection === 'assignments') {
      const key = change.value?.key ?? change.previous?.key;
      if (key) services.add(serviceId(key));
    } else if (change.collection === 'statuses') {
      const key = view.assignments.get(change.id)?.value.key;
      if (key) services.add(serviceId(key));
    } else if (change.collection === 'machines' && (change.value?.lostAt ?? 0) > 0 !== (change.previous?.lostAt ?? 0) > 0) {
      for (const { value } of view.assignmentsOn(change.id).values()) if (value.key) services.add(serviceId(value.key));
    }
  }

  /** Tells the sessions that a change concerns; returns whether the network map has changed. */
  #distribute(change: Change): boolean {
    switch (change.collection) {
      case 'assignments': {
        for (const node of new Set([change.value?.node, change.previous?.node])) {
          if (node !== undefined) this.sessions.get(node)?.assignmentChanged(change.id);
        }
        if (!change.value) {
          this.usage.forgetContainer(change.id);
          this.#writer.forget(change.id);
        }
        return false;
      }
      case 'statuses': {
        const { value, previous, id } = change;
        const assignment = this.#options.view.assignments.get(id)?.value;
        // the gateway that holds the node's session tells it, and no other
        if (!value || !assignment || !this.sessions.get(value.node)) return false;
        for (const event of containerEvents(assignment, previous, value)) this.#options.emit(event);
        return false;
      }
      case 'machines': {
        const { value, previous, id } = change;
        const state = this.sessions.get(id)?.state;
        if (value && state?.kind === 'active' && value.session > state.number)
          this.sessions.end(id, 'a newer session of this node has begun');
        return value?.address !== previous?.address || value?.subnet !== previous?.subnet;
      }
      case 'nodes': {
        if (change.value && !change.value.removed) return false;
        this.sessions.end(change.id, 'the node has been removed', { removed: true });
        this.usage.forgetNode(change.id);
        this.#writer.forgetNode(change.id);
        return false;
      }
      case 'gateways':
        // the time of a dead gateway's nodes begins now
        this.#liveness.observe();
        return false;
      default:
        return false;
    }
  }
}

function stops(change: Change): boolean {
  return change.collection === 'assignments' && change.value?.desired !== AssignmentDesired.run;
}

function storedStatus(view: ClusterView, container: string) {
  const entry = view.statuses.get(container);
  return entry && { status: entry.value, modRevision: entry.modRevision };
}
