import { type Clock, Code, GantryError } from '@gantry/common';
import {
  type AgentMessage,
  Assignments,
  type Command,
  type ControlMessage,
  EndpointMap,
  type Inventory,
  NetworkMap,
  Peer,
  type Report,
  StatusAck,
  type StatusBatch,
  type Welcome,
} from '@gantry/proto';
import type { ClusterView } from '../cluster/view.ts';
import type { EndpointTable } from './endpoint-table.ts';
import { Outbox } from './outbox.ts';
import { nextSessionState, type SessionEvent, type SessionState } from './session-state.ts';
import type { StopHolds } from './stop-holds.ts';

/** What a session reads from and tells to the rest of the gateway. */
export interface SessionPorts {
  view: ClusterView;
  endpoints: EndpointTable;
  holds: StopHolds;
  /** Sequence up to which the node's statuses are durable. */
  acknowledged: () => number;
  onStatuses: (batch: StatusBatch) => void;
  onReport: (report: Report) => void;
  onInventory: (inventory: Inventory) => void;
  clock: Clock;
}

const mostCommands = 1000;
/** An agent that has not acknowledged endpoints for this long is told of newer ones all the same. */
const endpointsAckMs = 250;

/** One agent's stream, from its hello to its end. */
export class Session {
  readonly node: string;
  readonly outbox: Outbox;
  readonly #ports: SessionPorts;
  #state: SessionState = { kind: 'greeting' };
  #heardMs: number;
  #begunMs = 0;
  #welcome: Welcome | undefined;
  #pong = 0;
  #statusAck = 0;
  #snapshot = true;
  readonly #assignments = new Set<string>();
  #allEndpoints = true;
  readonly #services = new Set<string>();
  #endpointsSent = 0;
  #endpointsSentMs = 0;
  #endpointsAcked = 0;
  #cancelRetry = () => {};
  readonly #commands: Command[] = [];

  constructor(node: string, ports: SessionPorts) {
    this.node = node;
    this.#ports = ports;
    this.#heardMs = ports.clock.monotonicMs();
    this.outbox = new Outbox({
      welcome: () => this.#takeWelcome(),
      statusAck: () => this.#takeStatusAck(),
      assignments: () => this.#takeAssignments(),
      endpoints: () => this.#takeEndpoints(),
      network: () => ({ network: this.#networkMap() }),
      commands: () => this.#takeCommand(),
      pong: () => ({ pong: { sequence: this.#pong } }),
    });
  }

  get state(): SessionState {
    return this.#state;
  }

  /** When it became active, on the monotonic clock. */
  get begunMs(): number {
    return this.#begunMs;
  }

  /** When the agent was last heard, on the monotonic clock. */
  get heardMs(): number {
    return this.#heardMs;
  }

  get isActive(): boolean {
    return this.#state.kind === 'active';
  }

  /** The one place where the session's state moves. */
  move(event: SessionEvent): void {
    this.#state = nextSessionState(this.#state, event);
  }

  /** The node is registered: it is welcomed and told everything. */
  begin(number: number, welcome: Welcome): void {
    this.move({ kind: 'registered', number });
    this.#welcome = welcome;
    this.#begunMs = this.#ports.clock.monotonicMs();
    this.#heardMs = this.#begunMs;
    for (const slot of ['welcome', 'assignments', 'endpoints', 'network'] as const) this.outbox.mark(slot);
  }

  /** Ends it with a word of why; `removed` tells the agent that its node is no longer part of the cluster. */
  end(reason: string, options: { removed?: boolean; error?: unknown } = {}): void {
    if (this.#state.kind === 'ended') return;
    this.move({ kind: 'end', reason });
    this.#cancelRetry();
    if (options.error === undefined) this.outbox.end({ goodbye: { reason, removed: options.removed ?? false } });
    else this.outbox.end(undefined, options.error);
  }

  /** Takes in one message of an active session. */
  receive(message: AgentMessage): void {
    this.#heardMs = this.#ports.clock.monotonicMs();
    if (message.heartbeat) {
      this.#pong = message.heartbeat.sequence;
      this.outbox.mark('pong');
    } else if (message.statuses) this.#ports.onStatuses(message.statuses);
    else if (message.report) this.#ports.onReport(message.report);
    else if (message.endpointsAck) this.#acknowledgeEndpoints(message.endpointsAck.version);
    else if (message.inventory) this.#ports.onInventory(message.inventory);
    else if (message.hello) throw new GantryError(Code.invalidArgument, 'cannot take a second hello in a session');
  }

  assignmentChanged(containerId: string): void {
    this.#assignments.add(containerId);
    this.outbox.mark('assignments');
  }

  endpointsChanged(services: readonly string[]): void {
    for (const service of services) this.#services.add(service);
    this.outbox.mark('endpoints');
  }

  networkChanged(): void {
    this.outbox.mark('network');
  }

  statusesDurable(): void {
    this.outbox.mark('statusAck');
  }

  /** @throws GantryError resourceExhausted when the agent does not take its commands. */
  command(command: Command): void {
    if (!this.isActive) throw new GantryError(Code.unavailable, `cannot ask node "${this.node}": its session has ended`);
    if (this.#commands.length >= mostCommands) {
      throw new GantryError(Code.resourceExhausted, `cannot ask node "${this.node}": ${mostCommands} commands wait`, { retryable: true });
    }
    this.#commands.push(command);
    this.outbox.mark('commands');
  }

  #takeWelcome(): Partial<ControlMessage> | undefined {
    const welcome = this.#welcome;
    this.#welcome = undefined;
    return welcome && { welcome };
  }

  #takeStatusAck(): Partial<ControlMessage> | undefined {
    const sequence = this.#ports.acknowledged();
    if (sequence <= this.#statusAck) return undefined;
    this.#statusAck = sequence;
    return { statusAck: StatusAck.create({ sequence }) };
  }

  #takeAssignments(): Partial<ControlMessage> | undefined {
    if (!this.isActive) return undefined;
    const { view, holds } = this.#ports;
    const mine = view.assignmentsOn(this.node);
    const { revision } = view;
    if (this.#snapshot) {
      this.#snapshot = false;
      this.#assignments.clear();
      const upserts = [...mine.values()].map((entry) => entry.value);
      return { assignments: Assignments.create({ revision, snapshot: true, upserts }) };
    }
    const message = Assignments.create({ revision });
    for (const id of this.#assignments) {
      if (holds.isHeld(id)) continue;
      this.#assignments.delete(id);
      const entry = mine.get(id);
      if (entry) message.upserts.push(entry.value);
      else message.removals.push(id);
    }
    return message.upserts.length + message.removals.length > 0 ? { assignments: message } : undefined;
  }

  /** One message at a time is on its way, so that a burst of changes becomes few messages. */
  #takeEndpoints(): Partial<ControlMessage> | undefined {
    if (!this.isActive) return undefined;
    const { endpoints, clock } = this.#ports;
    const waitMs = this.#endpointsSentMs + endpointsAckMs - clock.monotonicMs();
    if (this.#endpointsSent > this.#endpointsAcked && waitMs > 0) {
      this.#cancelRetry();
      this.#cancelRetry = clock.timer(waitMs, () => this.outbox.mark('endpoints'));
      return undefined;
    }
    const snapshot = this.#allEndpoints;
    const services = snapshot ? [...endpoints.services] : [...this.#services];
    if (!snapshot && services.length === 0) return undefined;
    this.#allEndpoints = false;
    this.#services.clear();
    this.#endpointsSent = endpoints.version;
    this.#endpointsSentMs = clock.monotonicMs();
    const messages = services.map((service) => endpoints.message(service));
    return { endpoints: EndpointMap.create({ version: endpoints.version, snapshot, services: messages }) };
  }

  #acknowledgeEndpoints(version: number): void {
    this.#endpointsAcked = Math.max(this.#endpointsAcked, Math.min(version, this.#endpointsSent));
    this.#ports.holds.acknowledged(this, this.#endpointsAcked);
    if (this.#services.size > 0) this.outbox.mark('endpoints');
  }

  #takeCommand(): Partial<ControlMessage> | undefined {
    const command = this.#commands.shift();
    if (this.#commands.length > 0) this.outbox.mark('commands');
    return command && { command };
  }

  #networkMap(): NetworkMap {
    const { view } = this.#ports;
    const peers: Peer[] = [];
    for (const { value } of view.machines.values()) {
      if (value.subnet !== '' && value.address !== '')
        peers.push(Peer.create({ node: value.name, address: value.address, subnet: value.subnet }));
    }
    peers.sort((a, b) => (a.node < b.node ? -1 : 1));
    return NetworkMap.create({ peers, version: view.revision });
  }
}
