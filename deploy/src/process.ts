import { execFile, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { Code, GantryError } from '@gantry/common';

const execute = promisify(execFile);

/** A process that this program started and may stop: a pid alone could by now belong to a stranger. */
export interface OwnProcess {
  name: string;
  pid: number;
  /** Field 22 of /proc/<pid>/stat. */
  startTime: string;
}

export interface RunOptions {
  /** Ends the command after this long; default 60000. */
  timeoutMs?: number;
  cwd?: string;
  env?: NodeJS.ProcessEnv;
}

/** Runs a command to its end and returns its standard output. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  try {
    const { stdout } = await execute(command, [...args], { timeout: options.timeoutMs ?? 60_000, maxBuffer: 64 << 20, ...options });
    return stdout;
  } catch (error) {
    const failure = error as Error & { stderr?: string; code?: number | string };
    const said = failure.stderr?.trim().split('\n').slice(-5).join('\n') || failure.message;
    throw new GantryError(Code.internal, `cannot run "${command} ${args.join(' ')}": ${said}`, { cause: error });
  }
}

export interface SpawnOptions {
  name: string;
  command: string;
  args: readonly string[];
  /** File that standard output and error are appended to. */
  log: string;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
}

/** Starts a process that outlives this one. */
export function spawnDetached(options: SpawnOptions): OwnProcess {
  const log = openSync(options.log, 'a', 0o600);
  try {
    const child = spawn(options.command, [...options.args], {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    child.on('error', () => {
      // the pid is missing then, and that is reported below
    });
    if (child.pid === undefined) throw new GantryError(Code.internal, `cannot start "${options.command}": no such program?`);
    child.unref();
    return { name: options.name, pid: child.pid, startTime: startTimeOf(child.pid) ?? '' };
  } finally {
    closeSync(log);
  }
}

/** Field 22 of /proc/<pid>/stat, or undefined when there is no such process (a zombie counts as none). */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined; // it has ended
  }
}

export function isAlive(process: OwnProcess): boolean {
  return startTimeOf(process.pid) === process.startTime;
}

/** Sends a signal to the process if it is still the one that was started. */
export function signalProcess(own: OwnProcess, signal: NodeJS.Signals): boolean {
  if (!isAlive(own)) return false;
  try {
    process.kill(own.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false; // it ended in between
    throw error;
  }
}

/** Stops a process: the signal, then SIGKILL after `graceMs`; returns when it has gone. */
export async function stopProcess(own: OwnProcess, signal: NodeJS.Signals = 'SIGTERM', graceMs = 5000): Promise<void> {
  if (!signalProcess(own, signal)) return;
  if (await waitUntil(() => !isAlive(own), graceMs)) return;
  signalProcess(own, 'SIGKILL');
  if (!(await waitUntil(() => !isAlive(own), 5000))) {
    throw new GantryError(Code.internal, `cannot stop "${own.name}" (pid ${own.pid}): it survived SIGKILL for 5 s`);
  }
}

/** Looks every 10 ms until the condition holds; false when it does not within `timeoutMs`. */
export async function waitUntil(condition: () => boolean | Promise<boolean>, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
