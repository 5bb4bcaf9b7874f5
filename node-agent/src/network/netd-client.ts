import { type ChildProcess, spawn } from 'node:child_process';
import { type Clock, Code, GantryError, type Logger } from '@gantry/common';

/** Longest reply: figures of some ten thousand interfaces. */
const replyMaxBytes = 16 * 1024 * 1024;

export interface NetdClientOptions {
  /** Path of the `gantry-netd` binary. */
  binary: string;
  clock: Clock;
  log: Logger;
  /** A request that takes longer fails, and the helper is started anew; default 10 s. */
  timeoutMs?: number;
  /** Most requests that wait for their reply; default 4096. */
  maxPending?: number;
}

/** A reply's members beside `id` and `ok`. */
export type NetdReply = Readonly<Record<string, unknown>>;

interface Pending {
  operation: string;
  resolve: (reply: NetdReply) => void;
  reject: (error: GantryError) => void;
  cancelTimer: () => void;
}

/** gRPC codes for what the kernel answers most; the rest is internal. */
const codeOfErrno = new Map<number, Code>([
  [2, Code.notFound],
  [16, Code.unavailable],
  [17, Code.alreadyExists],
  [19, Code.notFound],
  [22, Code.invalidArgument],
  [1, Code.permissionDenied],
  [13, Code.permissionDenied],
]);

/**
 * Speaks to `gantry-netd`, one JSON line each way. The helper is started with the first request and
 * again after it has died; what was asked of the dead one fails as `unavailable`.
 */
export class NetdClient {
  readonly #options: Required<NetdClientOptions>;
  readonly #pending = new Map<number, Pending>();
  #child: ChildProcess | undefined;
  #nextId = 1;
  #closed = false;

  constructor(options: NetdClientOptions) {
    this.#options = { timeoutMs: 10_000, maxPending: 4096, ...options };
  }

  /** Number of requests without a reply. */
  get pending(): number {
    return this.#pending.size;
  }

  /** The helper's process id; undefined when none runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Runs one operation.
   * @throws GantryError with the helper's own words; `resourceExhausted` when too many wait.
   */
  request(operation: string, members: Readonly<Record<string, unknown>>): Promise<NetdReply> {
    if (this.#closed) return Promise.reject(new GantryError(Code.cancelled, `cannot ${operation}: the network is closed`));
    if (this.#pending.size >= this.#options.maxPending) {
      const message = `cannot ${operation}: at most ${this.#options.maxPending} network requests may wait`;
      return Promise.reject(new GantryError(Code.resourceExhausted, message, { retryable: true }));
    }
    const child = this.#running();
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const cancelTimer = this.#options.clock.timer(this.#options.timeoutMs, () => this.#stuck(child, operation));
      this.#pending.set(id, { operation, resolve, reject, cancelTimer });
      child.stdin?.write(`${JSON.stringify({ ...members, id, op: operation })}\n`);
    });
  }

  #running(): ChildProcess {
    if (this.#child !== undefined) return this.#child;
    const child = spawn(this.#options.binary, [], { stdio: ['pipe', 'pipe', 'inherit'], env: {} });
    this.#child = child;
    this.#readLines(child);
    // a write to a helper that has died; the exit tells the rest
    child.stdin.on('error', () => {});
    child.on('error', (error) => this.#lost(child, `cannot start "${this.#options.binary}": ${error.message}`));
    child.on('exit', (code, signal) => this.#lost(child, `the network helper ended with ${signal ?? `exit code ${code}`}`));
    return child;
  }

  #readLines(child: ChildProcess): void {
    let rest = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#settle(line);
      if (rest.length > replyMaxBytes) this.#stuck(child, 'read a reply without an end');
    });
  }

  #settle(line: string): void {
    const { id, ok, ...reply } = JSON.parse(line) as { id: number; ok: boolean; error?: string; errno?: number };
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    pending.cancelTimer();
    if (ok) {
      pending.resolve(reply);
      return;
    }
    const code = codeOfErrno.get(reply.errno ?? 0) ?? Code.internal;
    pending.reject(new GantryError(code, reply.error ?? `cannot ${pending.operation}`));
  }

  /** One request without an answer blocks all that follow it, so the helper has to go. */
  #stuck(child: ChildProcess, operation: string): void {
    this.#options.log.error({ operation, timeoutMs: this.#options.timeoutMs }, 'network helper does not answer');
    child.kill('SIGKILL');
    this.#lost(child, `no answer to "${operation}" within ${this.#options.timeoutMs} ms`);
  }

  #lost(child: ChildProcess, reason: string): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    if (!this.#closed) this.#options.log.warn({ reason, waiting: this.#pending.size }, 'network helper lost');
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    for (const pending of waiting) {
      pending.cancelTimer();
      pending.reject(new GantryError(Code.unavailable, `cannot ${pending.operation}: ${reason}`));
    }
  }

  /** Ends the helper by the end of its input and waits for it; later requests are refused. */
  async close(): Promise<void> {
    this.#closed = true;
    const child = this.#child;
    if (child === undefined) return;
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    child.stdin?.end();
    const cancel = this.#options.clock.timer(this.#options.timeoutMs, () => child.kill('SIGKILL'));
    await ended;
    cancel();
  }
}
