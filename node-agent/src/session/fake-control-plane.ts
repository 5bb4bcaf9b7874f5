import { AsyncQueue, Code, GantryError } from '@gantry/common';
import {
  type AgentMessage,
  AgentsService,
  Assignments,
  ControlMessage,
  type ExecInput,
  type ExecStreamMessage,
  implement,
  type LogStreamMessage,
  Pong,
  type PullStreamMessage,
  StatusAck,
  StreamControl,
  Welcome,
} from '@gantry/proto';
import { Server, ServerCredentials } from '@grpc/grpc-js';

/** Everything that passed over one session, and a hand on it. */
export class FakeSession {
  readonly messages: AgentMessage[] = [];
  readonly #out = new AsyncQueue<ControlMessage>(10_000);
  readonly #waiters: { check: (message: AgentMessage) => boolean; resolve: (message: AgentMessage) => void }[] = [];
  /** Whether heartbeats are answered and statuses acknowledged by themselves. */
  polite = true;

  get out(): AsyncIterable<ControlMessage> {
    return this.#out;
  }

  send(message: Partial<ControlMessage>): void {
    this.#out.push(ControlMessage.create(message));
  }

  end(): void {
    this.#out.end();
  }

  receive(message: AgentMessage): void {
    this.messages.push(message);
    if (this.polite && message.heartbeat) this.send({ pong: Pong.create({ sequence: message.heartbeat.sequence }) });
    if (this.polite && message.statuses) this.send({ statusAck: StatusAck.create({ sequence: message.statuses.sequence }) });
    for (const waiter of this.#waiters.splice(0)) {
      if (waiter.check(message)) waiter.resolve(message);
      else this.#waiters.push(waiter);
    }
  }

  /** The first message, past or to come, that fits. */
  async message(check: (message: AgentMessage) => boolean): Promise<AgentMessage> {
    const seen = this.messages.find(check);
    if (seen) return seen;
    return await new Promise((resolve) => this.#waiters.push({ check, resolve }));
  }
}

/** A control plane that does what the test says, on a real port. */
export class FakeControlPlane {
  readonly #server = new Server();
  readonly #sessions: FakeSession[] = [];
  readonly #waiters: (() => void)[] = [];
  /** What the welcome says. */
  welcome = Welcome.create({
    session: 1,
    subnet: '10.64.1.0/24',
    heartbeatUs: 1_000_000,
    reportUs: 50_000,
    clusterDomain: 'gantry.internal',
    clusterCidr: '10.64.0.0/12',
  });
  /** Sent right after the welcome. */
  snapshot = Assignments.create({ revision: 1, snapshot: true });
  readonly logMessages = new AsyncQueue<LogStreamMessage>(10_000);
  readonly execMessages = new AsyncQueue<ExecStreamMessage>(10_000);
  readonly pullMessages = new AsyncQueue<PullStreamMessage>(10_000);
  /** What an exec is given as input. */
  execInputs = new AsyncQueue<ExecInput>(1000);
  address = '';

  async start(): Promise<void> {
    const service = implement(
      AgentsService,
      {
        enroll: refuse,
        renew: refuse,
        getFile: refuse,
        session: (requests) => this.#session(requests),
        logStream: (requests) => this.#keep(requests, this.logMessages),
        execStream: (requests) => this.#exec(requests),
        pullStream: async (requests) => {
          for await (const message of requests) this.pullMessages.push(message);
          this.pullMessages.end();
          return StreamControl.create();
        },
      },
      { authorize: () => undefined, onFailure: () => {} },
    );
    this.#server.addService(service.definition, service.implementation);
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    this.address = `127.0.0.1:${port}`;
  }

  async *#session(requests: AsyncIterable<AgentMessage>): AsyncGenerator<ControlMessage> {
    const session = new FakeSession();
    void (async () => {
      try {
        for await (const message of requests) {
          session.receive(message);
          if (!message.hello) continue;
          session.send({ welcome: this.welcome });
          session.send({ assignments: this.snapshot });
        }
      } catch {
        // the agent is gone
      } finally {
        session.end();
      }
    })();
    this.#sessions.push(session);
    for (const waiter of this.#waiters.splice(0)) waiter();
    yield* session.out;
  }

  async *#keep(requests: AsyncIterable<LogStreamMessage>, into: AsyncQueue<LogStreamMessage>): AsyncGenerator<StreamControl> {
    for await (const message of requests) into.push(message);
    into.end();
    yield* [];
  }

  async *#exec(requests: AsyncIterable<ExecStreamMessage>): AsyncGenerator<ExecInput> {
    void (async () => {
      try {
        for await (const message of requests) this.execMessages.push(message);
      } catch {
        // the agent is gone
      } finally {
        this.execMessages.end();
        this.execInputs.end();
      }
    })();
    yield* this.execInputs;
  }

  /** The n-th session ever, counted from 1, once it is there. */
  async session(number: number): Promise<FakeSession> {
    while (this.#sessions.length < number) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return this.#sessions[number - 1]!;
  }

  get sessions(): number {
    return this.#sessions.length;
  }

  stop(): void {
    this.#server.forceShutdown();
  }
}

function refuse(): Promise<never> {
  return Promise.reject(new GantryError(Code.unimplemented, 'not here'));
}
