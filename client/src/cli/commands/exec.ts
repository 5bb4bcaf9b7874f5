import { AsyncQueue, Code, GantryError } from '@gantry/common';
import { type ExecInput, ExecStart, TerminalSize } from '@gantry/proto';
import type { GantryClient } from '../../gantry-client.ts';
import { resolveTarget } from '../target.ts';
import { fetchContainers } from './list.ts';

export interface ExecFlags {
  stdin: boolean;
  tty: boolean;
  environment: Record<string, string>;
  user: string;
  workingDir: string;
}

/** Chunks of input that may wait for the network. */
const mostInputs = 256;

function size(): TerminalSize {
  return TerminalSize.create({ rows: process.stdout.rows ?? 24, columns: process.stdout.columns ?? 80 });
}

/** gantry exec; returns the command's exit code. */
export async function exec(client: GantryClient, text: string, command: readonly string[], flags: ExecFlags): Promise<number> {
  const container = await containerOf(client, text);
  if (flags.tty && !process.stdin.isTTY)
    throw new GantryError(Code.failedPrecondition, 'cannot give a terminal: standard input is none', {
      details: { hint: 'leave -t away' },
    });
  const inputs = new AsyncQueue<ExecInput>(mostInputs);
  const start = ExecStart.create({
    namespace: client.namespace,
    container,
    command: [...command],
    tty: flags.tty,
    stdin: flags.stdin,
    environment: flags.environment,
    user: flags.user,
    workingDir: flags.workingDir,
    ...(flags.tty ? { size: size() } : {}),
  });
  inputs.push({ start });
  const release = attach(inputs, flags);
  try {
    return await relay(client, inputs);
  } finally {
    release();
    inputs.end();
  }
}

async function relay(client: GantryClient, inputs: AsyncQueue<ExecInput>): Promise<number> {
  for await (const output of client.exec.exec(inputs)) {
    if (output.stdout) await put(process.stdout, output.stdout);
    if (output.stderr) await put(process.stderr, output.stderr);
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

/** Connects keyboard, terminal size and signals; the returned function puts everything back. */
function attach(inputs: AsyncQueue<ExecInput>, flags: ExecFlags): () => void {
  const onData = (chunk: Buffer) => {
    inputs.push({ stdin: chunk });
    if (inputs.size < mostInputs / 2) return;
    process.stdin.pause();
    const resume = setInterval(() => {
      if (inputs.size >= mostInputs / 4) return;
      clearInterval(resume);
      process.stdin.resume();
    }, 5);
  };
  const onEnd = () => inputs.push({ stdinClosed: true });
  const onResize = () => inputs.push({ resize: size() });
  const onInterrupt = () => inputs.push({ signal: 2 });
  if (flags.stdin) process.stdin.on('data', onData).on('end', onEnd);
  if (flags.tty) {
    process.stdin.setRawMode(true);
    process.stdout.on('resize', onResize);
  } else {
    process.on('SIGINT', onInterrupt);
  }
  return () => {
    if (flags.tty) process.stdin.setRawMode(false);
    process.stdin.off('data', onData).off('end', onEnd);
    process.stdin.pause();
    process.stdin.unref?.();
    process.stdout.off('resize', onResize);
    process.off('SIGINT', onInterrupt);
  };
}

/** The container to run in: the named one, or the first running one of the service. */
async function containerOf(client: GantryClient, text: string): Promise<string> {
  const target = await resolveTarget(client, text);
  if (target.container !== '') return target.container;
  const running = (await fetchContainers(client, target)).find((one) => one.pid > 0);
  if (!running)
    throw new GantryError(Code.failedPrecondition, `cannot run a command in "${text}": none of its containers runs`, {
      details: { hint: `gantry ps ${text}` },
    });
  return running.id;
}
