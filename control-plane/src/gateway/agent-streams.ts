import { type Clock, Code, GantryError } from '@gantry/common';
import {
  Command,
  type ExecCommand,
  type ExecInput,
  type ExecOutput,
  type ExecStreamMessage,
  type Inventory,
  type LogCommand,
  type LogEntry,
  type LogStreamMessage,
  type NodeImage,
  type PullImageProgress,
  type PullStreamMessage,
  StreamControl,
} from '@gantry/proto';
import type { AgentCall, Rendezvous, StreamKind } from './rendezvous.ts';
import { until, withFirst } from './rendezvous.ts';
import type { Session } from './session.ts';
import { aborted } from './signals.ts';

/** What the rest of the control plane asks of agents. */
export interface AgentStreams {
  logs(node: string, command: LogCommand, signal: AbortSignal): AsyncIterable<LogEntry>;
  exec(node: string, command: ExecCommand, inputs: AsyncIterable<ExecInput>, signal: AbortSignal): AsyncIterable<ExecOutput>;
  pull(node: string, reference: string, signal: AbortSignal): AsyncIterable<PullImageProgress>;
  /** Images that the node's store holds. */
  images(node: string, signal: AbortSignal): Promise<readonly NodeImage[]>;
  /** Asks the node for a usage report now and each second for a while. */
  reportNow(node: string): void;
}

export interface AgentStreamsOptions {
  rendezvous: Rendezvous;
  clock: Clock;
  /** @throws GantryError unavailable when no session of the node is here. */
  session: (node: string) => Session;
}

const inventoryMs = 5000;

/** Streams that agents open for the control plane; the handlers of their side are `accept…`. */
export class AgentStreamBroker implements AgentStreams {
  readonly #options: AgentStreamsOptions;
  readonly #inputs = new WeakMap<AbortSignal, AsyncIterable<ExecInput>>();
  readonly #inventories = new Map<number, (images: readonly NodeImage[]) => void>();
  #nextInventory = 1;

  constructor(options: AgentStreamsOptions) {
    this.#options = options;
  }

  async *logs(node: string, command: LogCommand, signal: AbortSignal): AsyncGenerator<LogEntry, void, void> {
    const call = await this.#open<LogStreamMessage>(node, 'logs', { logs: command }, signal);
    try {
      for await (const message of until(call.incoming, signal)) {
        if (message.error !== '') throw new GantryError(Code.failedPrecondition, message.error);
        yield* message.entries;
      }
    } finally {
      call.close();
    }
  }

  async *exec(
    node: string,
    command: ExecCommand,
    inputs: AsyncIterable<ExecInput>,
    signal: AbortSignal,
  ): AsyncGenerator<ExecOutput, void, void> {
    const call = await this.#open<ExecStreamMessage>(node, 'exec', { exec: command }, signal, inputs);
    try {
      for await (const message of until(call.incoming, signal)) if (message.output) yield message.output;
    } finally {
      call.close();
    }
  }

  async *pull(node: string, reference: string, signal: AbortSignal): AsyncGenerator<PullImageProgress, void, void> {
    const call = await this.#open<PullStreamMessage>(node, 'pull', { pull: { reference } }, signal);
    try {
      for await (const message of until(call.incoming, signal)) if (message.progress) yield message.progress;
    } finally {
      call.close();
    }
  }

  async images(node: string, signal: AbortSignal): Promise<readonly NodeImage[]> {
    const session = this.#options.session(node);
    const request = this.#nextInventory++;
    let cleanUp = () => {};
    try {
      return await new Promise<readonly NodeImage[]>((resolve, reject) => {
        const onAbort = () => reject(new GantryError(Code.cancelled, 'cancelled'));
        const cancelTimer = this.#options.clock.timer(inventoryMs, () => {
          reject(
            new GantryError(Code.unavailable, `cannot list the images of node "${node}": its agent did not answer in ${inventoryMs} ms`),
          );
        });
        cleanUp = () => {
          cancelTimer();
          signal.removeEventListener('abort', onAbort);
        };
        signal.addEventListener('abort', onAbort, { once: true });
        if (signal.aborted) onAbort();
        this.#inventories.set(request, resolve);
        session.command(Command.create({ inventory: { request } }));
      });
    } finally {
      this.#inventories.delete(request);
      cleanUp();
    }
  }

  reportNow(node: string): void {
    this.#options.session(node).command(Command.create({ reportNow: true }));
  }

  /** An agent's answer to `images`. */
  inventory(node: string, { request, images }: Inventory): void {
    this.#inventories.get(request)?.(images.map((image) => ({ ...image, node })));
  }

  /** The agent's side of `logs`. */
  async *acceptLogs(
    node: string,
    requests: AsyncIterable<LogStreamMessage>,
    signal: AbortSignal,
  ): AsyncGenerator<StreamControl, void, void> {
    const closed = await this.#accept(node, 'logs', requests, signal);
    await aborted(closed, signal);
    yield StreamControl.create({ cancel: true });
  }

  /** The agent's side of `exec`. */
  async *acceptExec(node: string, requests: AsyncIterable<ExecStreamMessage>, signal: AbortSignal): AsyncGenerator<ExecInput, void, void> {
    const closed = await this.#accept(node, 'exec', requests, signal);
    const inputs = this.#inputs.get(closed);
    if (inputs) yield* until(inputs, closed);
    // the outputs may go on after the last input
    await aborted(closed, signal);
  }

  /** The agent's side of `pull`. */
  async acceptPull(node: string, requests: AsyncIterable<PullStreamMessage>, signal: AbortSignal): Promise<StreamControl> {
    const closed = await this.#accept(node, 'pull', requests, signal);
    await aborted(closed, signal);
    return StreamControl.create({ cancel: true });
  }

  async #open<In>(
    node: string,
    kind: StreamKind,
    command: Partial<Command>,
    signal: AbortSignal,
    inputs?: AsyncIterable<ExecInput>,
  ): Promise<AgentCall<In>> {
    const session = this.#options.session(node);
    const call = await this.#options.rendezvous.open<In>({
      node,
      kind,
      signal,
      ask: (stream, closed) => {
        if (inputs) this.#inputs.set(closed, inputs);
        session.command(Command.create({ ...command, stream }));
      },
    });
    return call;
  }

  async #accept<In extends { stream: string }>(
    node: string,
    kind: StreamKind,
    requests: AsyncIterable<In>,
    signal: AbortSignal,
  ): Promise<AbortSignal> {
    const { first, all } = await withFirst(requests);
    const call = this.#options.rendezvous.accept<In>(node, kind, first.stream);
    const gone = new GantryError(Code.unavailable, `the stream from node "${node}" has broken off`);
    call.attach(until(all, signal, gone));
    return call.closed;
  }
}
