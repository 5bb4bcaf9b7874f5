import { Code, GantryError } from '@gantry/common';
import type { Resources } from './oci.ts';
import type { ContainerPaths, ExecRequest, ExecSession, Exit, Found, Run, Running, Runtime, StartOptions } from './runtime.ts';

interface FakeContainer {
  run: Run;
  exited: Promise<Exit>;
  end: (exit: Exit) => void;
  exit: Exit | undefined;
}

/** A complete runtime without a kernel. Containers outlive it through `world`, as real ones outlive an agent. */
export class FakeRuntime implements Runtime {
  /** By container id: everything that was started and not deleted. */
  readonly world: Map<string, FakeContainer>;
  /** What was done, in order: "start a", "signal a 15". */
  readonly log: string[] = [];
  /** When set, `start` rejects with what it gives; undefined lets the start go on. */
  onStart: ((id: string) => Promise<GantryError | undefined>) | undefined;
  /** Whether containers end by themselves on SIGTERM; default they do. */
  obeys = true;
  /** Whether a kill ends them. */
  mortal = true;
  /** Containers alive at the same time, at most ever. */
  mostStarting = 0;
  #starting = 0;
  #nextPid = 1000;
  #closed = false;

  constructor(world: Map<string, FakeContainer> = new Map()) {
    this.world = world;
    this.#nextPid += world.size;
  }

  get running(): string[] {
    return [...this.world].filter(([, container]) => !container.exit).map(([id]) => id);
  }

  async start(paths: ContainerPaths, _options: StartOptions): Promise<Running> {
    if (this.running.includes(paths.id)) throw new GantryError(Code.alreadyExists, `cannot start "${paths.id}": it runs already`);
    this.#starting++;
    this.mostStarting = Math.max(this.mostStarting, this.#starting);
    try {
      const failure = await this.onStart?.(paths.id);
      if (failure) throw failure;
      this.log.push(`start ${paths.id}`);
      const run = { pid: this.#nextPid++, startTime: '1', startedAtUs: 1 };
      let end: (exit: Exit) => void = () => {};
      const exited = new Promise<Exit>((resolve) => {
        end = resolve;
      });
      this.world.set(paths.id, { run, exited, end, exit: undefined });
      return { run, exited: this.#guard(exited) };
    } finally {
      this.#starting--;
    }
  }

  /** After `close` nobody is told any more. */
  async #guard(exited: Promise<Exit>): Promise<Exit> {
    const exit = await exited;
    return this.#closed ? new Promise<never>(() => {}) : exit;
  }

  async find(paths: ContainerPaths): Promise<Found> {
    const container = this.world.get(paths.id);
    if (!container) return { kind: 'nothing' };
    if (container.exit) return { kind: 'exited', exit: container.exit };
    return { kind: 'running', running: { run: container.run, exited: this.#guard(container.exited) } };
  }

  /** Ends a container's main process, as the test says. */
  finish(id: string, exit: Partial<Exit> = {}): void {
    const container = this.world.get(id);
    if (!container || container.exit) return;
    container.exit = { exitCode: 0, signal: 0, oomKilled: false, startedAtUs: 1, exitedAtUs: 2, lost: false, ...exit };
    container.end(container.exit);
  }

  async signal(paths: ContainerPaths, signal: number): Promise<void> {
    this.log.push(`signal ${paths.id} ${signal}`);
    if (this.obeys) this.finish(paths.id, { exitCode: 128 + signal, signal });
  }

  async kill(paths: ContainerPaths): Promise<void> {
    this.log.push(`kill ${paths.id}`);
    if (this.mortal) this.finish(paths.id, { exitCode: 137, signal: 9 });
  }

  async abandon(paths: ContainerPaths): Promise<void> {
    this.log.push(`abandon ${paths.id}`);
    this.finish(paths.id, { exitCode: 255, lost: true });
  }

  async exec(paths: ContainerPaths, request: ExecRequest): Promise<ExecSession> {
    if (!this.running.includes(paths.id)) throw new GantryError(Code.notFound, `cannot exec in "${paths.id}": it does not run`);
    this.log.push(`exec ${paths.id} ${request.args.join(' ')}`);
    return new FakeExec(request);
  }

  async update(paths: ContainerPaths, resources: Resources): Promise<void> {
    this.log.push(`update ${paths.id} ${JSON.stringify(resources)}`);
  }

  async delete(paths: ContainerPaths): Promise<void> {
    this.log.push(`delete ${paths.id}`);
    this.finish(paths.id, { exitCode: 137, signal: 9 });
    this.world.delete(paths.id);
  }

  close(): void {
    this.#closed = true;
  }
}

/** Behaves like `cat`: what is written comes back; the end of input is exit code 0, a signal 128 + its number. */
class FakeExec implements ExecSession {
  readonly pid = 4242;
  readonly output: AsyncIterable<{ stream: 'stdout' | 'stderr'; data: Uint8Array }>;
  readonly exitCode: Promise<number>;
  #chunks: Uint8Array[] = [];
  #end: number | undefined;
  #wake: () => void = () => {};

  constructor(request: ExecRequest) {
    let finish: (code: number) => void = () => {};
    this.exitCode = new Promise((resolve) => {
      finish = resolve;
    });
    if (!request.stdin) {
      this.#chunks.push(Buffer.from(`${request.args.join(' ')}\n`));
      this.#end = 0;
    }
    this.output = this.#read(finish);
  }

  async *#read(finish: (code: number) => void): AsyncGenerator<{ stream: 'stdout'; data: Uint8Array }, void, void> {
    for (;;) {
      while (this.#chunks.length > 0) yield { stream: 'stdout', data: this.#chunks.shift()! };
      if (this.#end !== undefined) return finish(this.#end);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async write(data: Uint8Array): Promise<void> {
    this.#chunks.push(data);
    this.#wake();
  }

  closeInput(): void {
    this.#finish(0);
  }

  resize(rows: number, columns: number): void {
    this.#chunks.push(Buffer.from(`[${rows}x${columns}]`));
    this.#wake();
  }

  signal(signal: number): void {
    this.#finish(128 + signal);
  }

  close(): void {
    this.#finish(129);
  }

  #finish(code: number): void {
    this.#end ??= code;
    this.#wake();
  }
}
