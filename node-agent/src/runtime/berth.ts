import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, Code, GantryError, sleep } from '@gantry/common';
import { execProcess, openExec } from './exec-session.ts';
import { Launcher } from './launcher.ts';
import { controlOf, MonitorConnection } from './monitor-connection.ts';
import { exitOf, lostExit, parseRun, readExit, readMonitor, readRun, startTimeOf } from './monitor-files.ts';
import type { Resources, Spec } from './oci.ts';
import type { ContainerPaths, ExecRequest, ExecSession, Exit, Found, Run, Running, Runtime, StartOptions } from './runtime.ts';

/** Most text of a failed command that goes into its error. */
const errorLength = 4096;
const watchRetryMs = 200;

export interface BerthOptions {
  /** Path of the binary. */
  binary: string;
  /** Berth's state folder. */
  root: string;
  clock: Clock;
}

/** Containers by `berth`: one process start a container, then its monitor's socket. */
export class BerthRuntime implements Runtime {
  readonly #options: BerthOptions;
  readonly #launcher = new Launcher();
  readonly #watches = new Set<MonitorConnection>();
  #closed = false;

  constructor(options: BerthOptions) {
    this.#options = options;
  }

  async start(paths: ContainerPaths, options: StartOptions): Promise<Running> {
    // what an earlier run left would be taken for this one's
    for (const name of ['started', 'exit']) rmSync(join(paths.state, name), { force: true });
    const args = ['--id', paths.id, '--bundle', paths.bundle, '--dir', paths.state];
    if (options.logMaxBytes > 0) args.push('--log-max-bytes', String(options.logMaxBytes));
    if (options.logMaxFiles > 0) args.push('--log-max-files', String(options.logMaxFiles));
    const output = await this.#berth('monitor', args);
    const run = parseRun(output);
    if (!run)
      throw new GantryError(Code.internal, `cannot start "${paths.id}": berth must print what it started, found "${output.slice(0, 200)}"`);
    return { run, exited: this.#watch(paths, run) };
  }

  async find(paths: ContainerPaths): Promise<Found> {
    const run = readRun(paths.state);
    const exit = readExit(paths.state);
    if (exit) return { kind: 'exited', exit };
    if (!run) {
      // killed between create and start: nothing was promised to anyone
      await this.delete(paths);
      return { kind: 'nothing' };
    }
    const connection = await this.#dial(paths);
    if (connection) return { kind: 'running', running: { run, exited: this.#watch(paths, run, connection) } };
    return { kind: 'exited', exit: readExit(paths.state) ?? (await this.#lost(paths, run)) };
  }

  async #dial(paths: ContainerPaths): Promise<MonitorConnection | undefined> {
    try {
      return await MonitorConnection.open(paths.state);
    } catch (error) {
      if (GantryError.from(error).code === Code.notFound) return undefined;
      throw error;
    }
  }

  /**
   * Resolves with the monitor's word. A monitor that does not answer is asked again; one that is gone
   * has left its record, or was killed.
   */
  async #watch(paths: ContainerPaths, run: Run, first?: MonitorConnection): Promise<Exit> {
    const { clock } = this.#options;
    for (let connection = first; ; connection = undefined) {
      try {
        connection ??= await this.#dial(paths);
        if (!connection) return readExit(paths.state) ?? (await this.#lost(paths, run));
        const exit = await this.#follow(connection);
        if (exit) return exit;
      } catch {
        // busy or broken off: whether it is gone shows at the next attempt
      }
      if (this.#closed) return await new Promise<never>(() => {});
      if (!readExit(paths.state)) await sleep(clock, watchRetryMs);
    }
  }

  /** Waits on one connection; undefined when it ends without a word. */
  async #follow(connection: MonitorConnection): Promise<Exit | undefined> {
    this.#watches.add(connection);
    try {
      await connection.request({ op: 'watch' });
      for (;;) {
        const frame = await connection.next();
        if (!frame) return undefined;
        const message = controlOf(frame);
        const exit = message?.event === 'exit' ? exitOf(message) : undefined;
        if (exit) return exit;
      }
    } finally {
      this.#watches.delete(connection);
      connection.close();
    }
  }

  /** The monitor is gone and left no record: what still runs is nobody's any more. */
  async #lost(paths: ContainerPaths, run: Run): Promise<Exit> {
    await this.delete(paths);
    return lostExit(run, this.#options.clock.nowUs());
  }

  async signal(paths: ContainerPaths, signal: number): Promise<void> {
    await this.#once(paths, { op: 'signal', signal, all: false });
  }

  async kill(paths: ContainerPaths): Promise<void> {
    await this.#once(paths, { op: 'kill' });
  }

  async abandon(paths: ContainerPaths): Promise<void> {
    const monitor = readMonitor(paths.state);
    if (monitor && startTimeOf(monitor.pid) === monitor.startTime) process.kill(monitor.pid, 'SIGKILL');
    await this.delete(paths);
  }

  async update(paths: ContainerPaths, resources: Resources): Promise<void> {
    await this.#once(paths, { op: 'update', resources });
  }

  async #once(paths: ContainerPaths, operation: object): Promise<void> {
    const connection = await this.#dial(paths);
    // ended already: its exit is told by the watch
    if (!connection) return;
    try {
      await connection.request(operation);
    } catch (error) {
      if (GantryError.from(error).code !== Code.unavailable) throw error;
    } finally {
      connection.close();
    }
  }

  async exec(paths: ContainerPaths, request: ExecRequest): Promise<ExecSession> {
    const connection = await MonitorConnection.open(paths.state);
    try {
      const spec = JSON.parse(readFileSync(join(paths.bundle, 'config.json'), 'utf8')) as Spec;
      return await openExec(connection, execProcess(spec, request), request);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async delete(paths: ContainerPaths): Promise<void> {
    await this.#berth('delete', ['--force', paths.id]);
  }

  close(): void {
    this.#closed = true;
    this.#launcher.close();
    for (const connection of this.#watches) connection.close();
  }

  /** Runs one berth command and gives what it printed. */
  async #berth(command: string, args: readonly string[]): Promise<string> {
    const { binary, root } = this.#options;
    const { code, output } = await this.#launcher.run(binary, ['--root', root, command, ...args]);
    if (code !== 0)
      throw new GantryError(Code.failedPrecondition, output.trim().slice(0, errorLength) || `berth ${command}: exit code ${code}`);
    return output;
  }
}
