import { Code, GantryError, sleep } from '@gantry/common';
import { type AgentMessage, type ControlMessage, type Hello, type Inventory, type Machine, Welcome } from '@gantry/proto';
import { AdmissionThrottle } from './admission.ts';
import type { EndpointTable } from './endpoint-table.ts';
import type { Liveness } from './liveness.ts';
import type { LivenessRules } from './liveness-plan.ts';
import type { GatewayOptions } from './ports.ts';
import { checkHello, register } from './registration.ts';
import { until } from './rendezvous.ts';
import { Session } from './session.ts';
import type { StatusWriter } from './status-writer.ts';
import type { StopHolds } from './stop-holds.ts';
import type { UsageTable } from './usage-table.ts';

export interface SessionsOptions {
  gateway: GatewayOptions;
  rules: LivenessRules;
  endpoints: EndpointTable;
  holds: StopHolds;
  writer: StatusWriter;
  usage: UsageTable;
  liveness: Liveness;
  onInventory: (node: string, inventory: Inventory) => void;
}

const helloMs = 5000;
/** A session of this length shows that its agent is no copy that fights for a name. */
const forgiveMs = 10_000;

/** The sessions that agents hold with this gateway: one a node. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #byNode = new Map<string, Session>();
  readonly #throttle = new AdmissionThrottle();
  /** Ends when the last node that asked for a subnet has one. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  get active(): Iterable<Session> {
    return this.#byNode.values();
  }

  get size(): number {
    return this.#byNode.size;
  }

  get(node: string): Session | undefined {
    return this.#byNode.get(node);
  }

  /** Serves one stream of an agent, until either side ends it. */
  async *open(node: string, requests: AsyncIterable<AgentMessage>, signal: AbortSignal): AsyncGenerator<ControlMessage, void, void> {
    const session = this.#create(node);
    const onAbort = () => session.end('the connection has ended');
    signal.addEventListener('abort', onAbort, { once: true });
    void this.#read(session, requests, signal);
    try {
      yield* session.outbox.messages();
    } finally {
      signal.removeEventListener('abort', onAbort);
      session.end('the stream has ended');
      this.#closed(session);
    }
  }

  /** Ends a node's session, if there is one. */
  end(node: string, reason: string, options: { removed?: boolean } = {}): void {
    const session = this.#byNode.get(node);
    if (!session) return;
    session.end(reason, options);
    this.#closed(session);
  }

  endAll(reason: string): void {
    for (const node of [...this.#byNode.keys()]) this.end(node, reason);
  }

  #create(node: string): Session {
    const { gateway, endpoints, holds, writer, usage, onInventory } = this.#options;
    const { view } = gateway;
    const session: Session = new Session(node, {
      view,
      endpoints,
      holds,
      clock: gateway.clock,
      acknowledged: () => writer.acknowledged(node),
      onStatuses: ({ sequence, statuses, removed }) => {
        const epoch = session.state.kind === 'active' ? session.state.epoch : 0;
        writer.submit(node, { sequence, epoch, statuses, removed });
      },
      onReport: (report) => usage.record(node, report, (id) => view.assignments.get(id)?.value.node === node),
      onInventory: (inventory) => onInventory(node, inventory),
    });
    return session;
  }

  /** Reads until the agent ends; whatever goes wrong ends the session with it. */
  async #read(session: Session, requests: AsyncIterable<AgentMessage>, signal: AbortSignal): Promise<void> {
    const greeted = new AbortController();
    void this.#limitGreeting(session, AbortSignal.any([greeted.signal, signal]));
    try {
      for await (const message of until(requests, signal)) {
        if (session.state.kind === 'ended') return;
        if (session.isActive) {
          session.receive(message);
          this.#options.liveness.heard(session.node);
          continue;
        }
        greeted.abort();
        await this.#greet(session, checkHello(message.hello, session.node), signal);
      }
      session.end('the agent has ended it');
    } catch (error) {
      session.end('it failed', { error: GantryError.from(error) });
    } finally {
      greeted.abort();
    }
  }

  async #limitGreeting(session: Session, signal: AbortSignal): Promise<void> {
    const isLate = await sleep(this.#options.gateway.clock, helloMs, signal).then(
      () => true,
      () => false,
    );
    if (!isLate) return;
    session.end('no hello', {
      error: new GantryError(Code.deadlineExceeded, `cannot open the session: a hello must come within ${helloMs} ms`),
    });
  }

  async #greet(session: Session, hello: Hello, signal: AbortSignal): Promise<void> {
    const { gateway, liveness, rules, writer } = this.#options;
    const { clock, view, id } = gateway;
    const { node } = session;
    this.#throttle.check(node, clock.monotonicMs());
    session.move({ kind: 'hello', epoch: hello.epoch });
    const present = this.#byNode.get(node);
    try {
      const { machine, before, revision } = await register(
        { ...gateway, inTurn: (work) => this.#inTurn(work) },
        {
          hello,
          present: present?.state.kind === 'active' ? { epoch: present.state.epoch, heardMs: present.heardMs } : undefined,
          nowMs: clock.monotonicMs(),
          nowUs: clock.nowUs(),
          aliveMs: rules.heartbeatMs * 2,
          gateway: id,
        },
        signal,
      );
      // everything that was assigned before it came back must be in the snapshot that it gets
      await view.atLeast(revision, signal);
      if (signal.aborted) return;
      this.end(node, 'a newer session of this node has begun');
      this.#byNode.set(node, session);
      liveness.heard(node);
      writer.begin(node);
      session.begin(machine.session, this.#welcome(machine));
      writer.submit(node, { sequence: 0, epoch: hello.epoch, statuses: hello.containers, removed: [] });
      this.#tell(machine, before);
    } catch (thrown) {
      const error = GantryError.from(thrown);
      if (error.code === Code.failedPrecondition) this.#throttle.refused(node, clock.monotonicMs());
      throw error;
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.then(
      () => undefined,
      () => undefined,
    );
    return mine;
  }

  #welcome(machine: Machine): Welcome {
    const { gateway, rules } = this.#options;
    return Welcome.create({
      session: machine.session,
      subnet: machine.subnet,
      heartbeatUs: rules.heartbeatMs * 1000,
      reportUs: (gateway.reportMs ?? 5000) * 1000,
      clusterDomain: gateway.clusterDomain,
      clusterCidr: gateway.clusterCidr,
      now: gateway.clock.nowUs(),
    });
  }

  #tell(machine: Machine, before: Machine | undefined): void {
    const { emit, log } = this.#options.gateway;
    const { name: node, subnet, session, epoch } = machine;
    log.info({ node, session, epoch, subnet }, 'node has connected');
    const subject = `node/${node}`;
    if (!before) emit({ type: 'NodeJoined', message: `node ${node} has joined with subnet ${subnet}`, subject, node });
    else if (before.lostAt > 0) emit({ type: 'NodeReturned', message: `node ${node} is back`, subject, node });
  }

  /** The session serves no more. */
  #closed(session: Session): void {
    const { holds, gateway } = this.#options;
    holds.ended(session);
    if (this.#byNode.get(session.node) !== session) return;
    this.#byNode.delete(session.node);
    if (gateway.clock.monotonicMs() - session.begunMs > forgiveMs) this.#throttle.forgive(session.node);
    gateway.log.info({ node: session.node, reason: session.state.kind === 'ended' ? session.state.reason : '' }, 'session has ended');
  }
}
