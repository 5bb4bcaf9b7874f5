import { spawnSync } from 'node:child_process';
import { AsyncQueue, Code, GantryError } from '@gantry/common';
import { ContainerState, type ExecInput, type ExecOutput, ExecStart, TerminalSize } from '@gantry/proto';
import type { GantryClient } from '../../gantry-client.ts';
import { fetchContainers } from '../containers.ts';
import { resolveTarget } from '../target.ts';

export interface ExecFlags {
  stdin: boolean;
  tty: boolean;
  environment: Record<string, string>;
  user: string;
  workingDir: string;
}

/** Keyboard and screen of the caller. */
export interface Terminal {
  stdin: NodeJS.ReadStream;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
}

/** Chunks of input that may wait for the network; above half of it the keyboard is paused. */
const mostInputs = 256;

/** gantry exec; returns the command's exit code. */
export async function exec(
  client: GantryClient,
  text: string,
  command: readonly string[],
  flags: ExecFlags,
  terminal: Terminal = process,
): Promise<number> {
  if (flags.tty && !terminal.stdin.isTTY) {
    throw new GantryError(Code.failedPrecondition, 'cannot give a terminal: standard input is none', {
      details: { hint: 'leave -t away' },
    });
  }
  const container = await containerOf(client, text);
  const { environment, user, workingDir, tty, stdin } = flags;
  const size = tty ? sizeOf(terminal) : null;
  const start = ExecStart.create({
    namespace: client.namespace,
    container,
    command: [...command],
    tty,
    stdin,
    environment,
    user,
    workingDir,
    size,
  });
  const inputs = new AsyncQueue<ExecInput>(mostInputs);
  inputs.push({ start });
  const release = attach(inputs, flags, terminal);
  try {
    return await relay(client.exec.exec(paced(inputs, flags.stdin ? terminal.stdin : undefined)), terminal);
  } finally {
    release();
    inputs.end();
  }
}

function sizeOf({ stdout }: Terminal): TerminalSize {
  return TerminalSize.create({ rows: stdout.rows || 24, columns: stdout.columns || 80 });
}

/** The queued inputs; the keyboard goes on once there is room again. */
async function* paced(inputs: AsyncQueue<ExecInput>, stdin: NodeJS.ReadStream | undefined): AsyncGenerator<ExecInput, void, void> {
  for await (const input of inputs) {
    yield input;
    if (stdin?.isPaused() && inputs.size < mostInputs / 4) stdin.resume();
  }
}

async function relay(outputs: AsyncIterable<ExecOutput>, { stdout, stderr }: Terminal): Promise<number> {
  for await (const output of outputs) {
    if (output.stdout) await put(stdout, output.stdout);
    if (output.stderr) await put(stderr, output.stderr);
    if (!output.exit) continue;
    if (output.exit.error !== '') throw new GantryError(Code.internal, output.exit.error);
    return output.exit.exitCode;
  }
  throw new GantryError(Code.unavailable, 'cannot tell how the command ended: the connection was lost');
}

function put(out: NodeJS.WriteStream, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (out.write(bytes)) resolve();
    else out.once('drain', resolve);
  });
}

/** Connects keyboard, window size and Ctrl-C; the returned function puts everything back, also when the program ends at once. */
function attach(inputs: AsyncQueue<ExecInput>, { stdin: useStdin, tty }: ExecFlags, terminal: Terminal): () => void {
  const { stdin, stdout } = terminal;
  const onData = (chunk: Buffer) => {
    inputs.push({ stdin: chunk });
    if (inputs.size >= mostInputs / 2) stdin.pause();
  };
  const onEnd = () => inputs.push({ stdinClosed: true });
  const onResize = () => {
    // a window that is dragged: only room that is left over is used
    if (inputs.size < mostInputs / 2) inputs.push({ resize: sizeOf(terminal) });
  };
  const onInterrupt = () => {
    if (inputs.size < mostInputs - 1) inputs.push({ signal: 2 });
  };
  const cooked = () => {
    if (tty) stdin.setRawMode(false);
  };
  if (useStdin) stdin.on('data', onData).on('end', onEnd);
  process.on('exit', cooked);
  if (tty) {
    stdin.setRawMode(true);
    // raw mode leaves line ends to the terminal, which would double the carriage returns of the other end
    if (stdin === process.stdin) spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
    stdout.on('resize', onResize);
  } else {
    process.on('SIGINT', onInterrupt);
  }
  return () => {
    cooked();
    process.off('exit', cooked);
    stdin.off('data', onData).off('end', onEnd);
    stdin.pause();
    // a terminal's handle would keep the program alive
    if (typeof stdin.unref === 'function') stdin.unref();
    stdout.off('resize', onResize);
    process.off('SIGINT', onInterrupt);
  };
}

/** The container to run in: the named one, or the first running one of the service. */
async function containerOf(client: GantryClient, text: string): Promise<string> {
  const target = await resolveTarget(client, text);
  if (target.container !== '') return target.container;
  const running = (await fetchContainers(client, target)).find((one) => one.state === ContainerState.running);
  if (running) return running.id;
  const details = { hint: `gantry ps ${text}` };
  throw new GantryError(Code.failedPrecondition, `cannot run a command in "${text}": none of its containers runs`, { details });
}
