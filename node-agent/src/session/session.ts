import { backoffMs, Code, GantryError, sleep } from '@gantry/common';
import { AgentsService, type ControlMessage, createClient, type Welcome } from '@gantry/proto';
import { Outgoing } from './outgoing.ts';
import type { CommandContext, SessionPorts } from './ports.ts';
import { nextSessionState, type SessionEvent, type SessionState } from './state.ts';
import { SessionTimers } from './timers.ts';

const reconnect = { minMs: 200, maxMs: 2000 };
/** Most that a control plane's own word on when to come again is followed. */
const mostWaitMs = 30_000;
/** A control plane that does not answer the hello within this time is left for the next one. */
const welcomeTimeoutMs = 5000;
/** Endpoint maps that may wait for the network before the session stops reading. */
const mapsWaiting = 32;

/** The agent's standing connection to the control plane: one at a time, for the agent's life. */
export class Session {
  readonly #ports: SessionPorts;
  readonly #ended = new AbortController();
  #state: SessionState = { kind: 'idle' };
  #outgoing: Outgoing | undefined;
  #running: Promise<void> | undefined;

  constructor(ports: SessionPorts) {
    this.#ports = ports;
  }

  get state(): SessionState {
    return this.#state;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Says goodbye by ending the stream. */
  async close(): Promise<void> {
    this.#ended.abort();
    this.#outgoing?.end();
    await this.#running;
  }

  /** There are statuses to send. */
  wake(): void {
    this.#outgoing?.wake();
  }

  /** These assignments are on disk. */
  acknowledgeAssignments(revision: number): void {
    this.#outgoing?.acknowledgeAssignments(revision);
  }

  #move(event: SessionEvent): void {
    this.#state = nextSessionState(this.#state, event);
    this.#ports.onState?.(this.#state.kind);
  }

  async #run(): Promise<void> {
    const { addresses, clock, random, log } = this.#ports;
    const { signal } = this.#ended;
    for (let turn = 0; !signal.aborted; turn++) {
      const address = addresses[turn % addresses.length]!;
      this.#move({ kind: 'dial', address });
      const { message: reason, details } = await this.#once(address);
      if (signal.aborted) break;
      this.#move({ kind: 'failed', reason });
      const attempt = this.#state.kind === 'waiting' ? this.#state.attempt : 0;
      log[attempt <= 1 ? 'warn' : 'debug']({ address, reason, attempt }, 'no session with the control plane');
      const asked = Math.min(details.retryAfterMs ?? 0, mostWaitMs);
      const waitMs = Math.max(asked, backoffMs(Math.max(0, attempt - 1), random(), reconnect));
      await sleep(clock, waitMs, signal).catch(() => {});
    }
    this.#move({ kind: 'close' });
  }

  /** One connection from hello to end; why it ended. */
  async #once(address: string): Promise<GantryError> {
    const { outbox, hello, connect, clock } = this.#ports;
    const ended = new AbortController();
    const signal = AbortSignal.any([this.#ended.signal, ended.signal]);
    const outgoing = new Outgoing(hello(), () => outbox.take());
    const timers = new SessionTimers(this.#ports, outgoing, (reason) => ended.abort(new GantryError(Code.unavailable, reason)));
    const cancelWelcome = clock.timer(welcomeTimeoutMs, () => {
      ended.abort(new GantryError(Code.unavailable, `no answer to the hello within ${welcomeTimeoutMs} ms`));
    });
    let connection: ReturnType<typeof connect> | undefined;
    try {
      connection = connect(address);
      outbox.reconnected();
      this.#outgoing = outgoing;
      const messages = createClient(AgentsService, connection).session(outgoing, { signal });
      const reader = new Reader(this.#ports, outgoing, timers, { connection, signal });
      for await (const message of messages) {
        if (message.welcome) {
          cancelWelcome();
          this.#move({ kind: 'welcomed', session: message.welcome.session });
        }
        await reader.read(message);
      }
      return new GantryError(Code.unavailable, 'the control plane ended the session');
    } catch (error) {
      return GantryError.from(ended.signal.aborted ? ended.signal.reason : error);
    } finally {
      cancelWelcome();
      timers.stop();
      outgoing.end();
      ended.abort();
      this.#outgoing = undefined;
      connection?.close();
    }
  }
}

type ReaderContext = Pick<CommandContext, 'connection' | 'signal'>;

/** Hands on what the control plane says on one connection. */
class Reader {
  readonly #ports: SessionPorts;
  readonly #outgoing: Outgoing;
  readonly #timers: SessionTimers;
  readonly #context: ReaderContext;
  /** Network maps are applied one after the other, beside the reading. */
  #network: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(ports: SessionPorts, outgoing: Outgoing, timers: SessionTimers, context: ReaderContext) {
    this.#ports = ports;
    this.#outgoing = outgoing;
    this.#timers = timers;
    this.#context = context;
  }

  async read(message: ControlMessage): Promise<void> {
    const { outbox, link, onAssignments, onNetwork, onEndpoints, onCommand, onGoodbye } = this.#ports;
    this.#timers.heard();
    if (message.welcome) await this.#welcome(message.welcome);
    if (message.assignments) onAssignments(message.assignments);
    if (message.statusAck) outbox.acknowledge(message.statusAck.sequence);
    if (message.pong) link.confirmed(message.pong.sequence);
    const { network, endpoints } = message;
    if (network) await this.#applyNetwork('routes', () => onNetwork(network));
    if (endpoints) {
      await this.#applyNetwork('endpoints', async () => {
        await onEndpoints(endpoints);
        this.#outgoing.acknowledgeEndpoints(endpoints.version);
      });
    }
    if (message.command) {
      onCommand(message.command, {
        ...this.#context,
        inventory: (inventory) => this.#outgoing.inventory(inventory),
        reportNow: () => this.#timers.reportNow(),
      });
    }
    if (message.goodbye) onGoodbye(message.goodbye);
  }

  async #welcome(welcome: Welcome): Promise<void> {
    await this.#ports.onWelcome(welcome);
    this.#timers.start(welcome);
    this.#outgoing.open();
  }

  async #applyNetwork(what: string, apply: () => Promise<void>): Promise<void> {
    this.#waiting++;
    this.#network = this.#network
      .then(apply)
      .catch((error: unknown) => this.#ports.log.error({ err: error, what }, 'cannot apply what the control plane says of the network'))
      .finally(() => {
        this.#waiting--;
      });
    if (this.#waiting > mapsWaiting) await this.#network;
  }
}
