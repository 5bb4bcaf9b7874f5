import { AsyncQueue } from '@gantry/common';
import {
  AgentMessage,
  AgentsService,
  type ClientOf,
  type Connection,
  ContainerState,
  ContainerStatus,
  type ControlMessage,
  createClient,
  Hello,
  Machine,
} from '@gantry/proto';

/** What a test says of the agent. */
export interface FakeAgentOptions {
  node: string;
  epoch?: number;
  /** Sent with every call. */
  headers?: Record<string, string>;
  /** Acknowledge endpoints as they come; default true. */
  acknowledgeEndpoints?: boolean;
}

/** An agent that speaks the protocol and runs nothing: a test scripts it. */
export class FakeAgent {
  readonly node: string;
  readonly received: ControlMessage[] = [];
  readonly client: ClientOf<typeof AgentsService>;
  /** Settles when the session ends; the error it ended with, if there was one. */
  readonly ended: Promise<unknown>;
  readonly #epoch: number;
  readonly #sending = new AsyncQueue<AgentMessage>(100_000);
  readonly #watchers = new Set<() => void>();
  readonly #abort = new AbortController();
  #sequence = 0;

  constructor(connection: Connection, options: FakeAgentOptions) {
    this.node = options.node;
    this.#epoch = options.epoch ?? 1;
    this.client = createClient(AgentsService, connection);
    this.ended = this.#read(options);
  }

  hello(init: Partial<Hello> = {}): void {
    const machine = Machine.create({ address: `192.0.2.${this.node.replace(/\D/g, '') || '1'}`, cpus: 2 });
    this.send({ hello: Hello.create({ node: this.node, epoch: this.#epoch, machine, ...init }) });
  }

  send(message: Partial<AgentMessage>): void {
    this.#sending.push(AgentMessage.create(message));
  }

  /** Returns the sequence that the answer will carry. */
  heartbeat(): number {
    this.send({ heartbeat: { sequence: ++this.#sequence, at: 0 } });
    return this.#sequence;
  }

  /** A heartbeat and its answer. */
  async beat(): Promise<void> {
    const sequence = this.heartbeat();
    await this.next((message) => message.pong && message.pong.sequence >= sequence);
  }

  /** Reports containers; returns the sequence of the batch. */
  report(...statuses: (Partial<ContainerStatus> & { id: string })[]): number {
    const sent = statuses.map((status) =>
      ContainerStatus.create({ node: this.node, epoch: this.#epoch, sequence: ++this.#sequence, ...status }),
    );
    this.send({ statuses: { sequence: this.#sequence, statuses: sent, removed: [] } });
    return this.#sequence;
  }

  /** Reports a container as running and ready at an address. */
  running(id: string, address = '10.64.0.2'): number {
    return this.report({ id, state: ContainerState.running, ready: true, address });
  }

  removed(...ids: string[]): number {
    this.send({ statuses: { sequence: ++this.#sequence, statuses: [], removed: ids } });
    return this.#sequence;
  }

  /** The first message, old or new, for which `pick` finds something. */
  async next<T>(pick: (message: ControlMessage) => T | undefined | null | false): Promise<T> {
    for (let seen = 0; ; ) {
      for (; seen < this.received.length; seen++) {
        const found = pick(this.received[seen]!);
        if (found) return found;
      }
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#watchers.delete(wake);
          resolve();
        };
        this.#watchers.add(wake);
      });
    }
  }

  /** Forgets what has been received. */
  clear(): void {
    this.received.length = 0;
  }

  /** Ends the stream as an agent does that stops. */
  close(): void {
    this.#sending.end();
  }

  /** Breaks the stream off. */
  kill(): void {
    this.#abort.abort();
    this.#sending.end();
  }

  async #read(options: FakeAgentOptions): Promise<unknown> {
    try {
      const settings = { signal: this.#abort.signal, ...(options.headers ? { headers: options.headers } : {}) };
      for await (const message of this.client.session(this.#sending, settings)) {
        this.received.push(message);
        if (message.endpoints && options.acknowledgeEndpoints !== false) {
          this.send({ endpointsAck: { version: message.endpoints.version } });
        }
        for (const wake of [...this.#watchers]) wake();
      }
      return undefined;
    } catch (error) {
      return error;
    }
  }
}
