import { randomBytes } from 'node:crypto';
import { type Clock, Code, GantryError } from '@gantry/common';

/** What a stream that an agent opens is for. */
export type StreamKind = 'logs' | 'exec' | 'pull';

/** A stream that an agent has opened, as the part that asked for it sees it. */
export interface AgentCall<In> {
  /** What the agent sends; ends with it, and fails when the agent goes away. */
  readonly incoming: AsyncIterable<In>;
  /** No more is wanted: the agent's call is ended. */
  close(): void;
}

/** The same stream as its handler sees it. */
export interface Accepted<In> {
  /** Hands over what the agent sends. */
  attach(incoming: AsyncIterable<In>): void;
  /** Aborted when the part that asked is done with it. */
  readonly closed: AbortSignal;
}

export interface OpenOptions {
  node: string;
  kind: StreamKind;
  /** Asks the agent to open the stream of this id; throws when it cannot be asked. */
  ask: (stream: string, closed: AbortSignal) => void;
  signal: AbortSignal;
}

interface Waiter {
  readonly node: string;
  readonly kind: StreamKind;
  readonly accept: (incoming: AsyncIterable<unknown>) => void;
  readonly closed: AbortController;
}

const perNode = 200;

/**
 * Where streams meet: the control plane asks for one in the session, the agent opens it and names it. An id is good once,
 * for the node and the kind it was made for.
 */
export class Rendezvous {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #waiters = new Map<string, Waiter>();

  /** @param timeoutMs how long an agent may take to open a stream. */
  constructor(clock: Clock, timeoutMs = 10_000) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** Streams that were asked for and are not open yet. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** @throws GantryError unavailable when the agent does not open it in time; cancelled when the signal aborts. */
  async open<In>({ node, kind, ask, signal }: OpenOptions): Promise<AgentCall<In>> {
    let mine = 0;
    for (const waiter of this.#waiters.values()) if (waiter.node === node) mine++;
    if (mine >= perNode) {
      throw new GantryError(Code.resourceExhausted, `cannot open a stream to node "${node}": ${perNode} wait already`, { retryable: true });
    }
    const id = randomBytes(16).toString('hex');
    const closed = new AbortController();
    let cancelTimer = () => {};
    let onAbort = () => {};
    try {
      const incoming = await new Promise<AsyncIterable<unknown>>((resolve, reject) => {
        onAbort = () => reject(new GantryError(Code.cancelled, 'cancelled'));
        if (signal.aborted) return onAbort();
        signal.addEventListener('abort', onAbort, { once: true });
        cancelTimer = this.#clock.timer(this.#timeoutMs, () => {
          reject(
            new GantryError(Code.unavailable, `cannot open a stream to node "${node}": its agent did not answer in ${this.#timeoutMs} ms`),
          );
        });
        this.#waiters.set(id, { node, kind, accept: resolve, closed });
        ask(id, closed.signal);
      });
      return { incoming: incoming as AsyncIterable<In>, close: () => closed.abort() };
    } catch (error) {
      closed.abort();
      throw error;
    } finally {
      this.#waiters.delete(id);
      cancelTimer();
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** @throws GantryError notFound when nobody waits for this stream of this node. */
  accept<In>(node: string, kind: StreamKind, id: string): Accepted<In> {
    const waiter = this.#waiters.get(id);
    if (!waiter || waiter.node !== node || waiter.kind !== kind) {
      throw new GantryError(Code.notFound, `cannot take the ${kind} stream of node "${node}": nobody waits for it`);
    }
    this.#waiters.delete(id);
    return { attach: waiter.accept, closed: waiter.closed.signal };
  }
}

/** The first message of a stream and an iterable that begins with it again. */
export async function withFirst<T>(source: AsyncIterable<T>): Promise<{ first: T; all: AsyncIterable<T> }> {
  const iterator = source[Symbol.asyncIterator]();
  const { value, done } = await iterator.next();
  if (done) throw new GantryError(Code.invalidArgument, 'cannot read the stream: it must begin with a message');
  const first = value;
  async function* all(): AsyncGenerator<T, void, void> {
    yield first;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
  }
  return { first, all: all() };
}

/**
 * What the source yields until the signal aborts; then it ends, or fails with the error if one is given. The source is left
 * as it is: to return from the iteration of a call would destroy the call before its status is sent.
 */
export async function* until<T>(source: AsyncIterable<T>, signal: AbortSignal, error?: GantryError): AsyncGenerator<T, void, void> {
  const iterator = source[Symbol.asyncIterator]();
  let interrupt = () => {};
  const onAbort = () => interrupt();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for (;;) {
      // a promise of its own each time: reactions on one that lives as long as the stream would pile up
      const next = await new Promise<IteratorResult<T> | undefined>((resolve, reject) => {
        interrupt = () => resolve(undefined);
        if (signal.aborted) interrupt();
        else iterator.next().then(resolve, reject);
      });
      if (!next) {
        if (error) throw error;
        return;
      }
      if (next.done) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
