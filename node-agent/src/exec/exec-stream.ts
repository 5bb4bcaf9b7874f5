import { Code, GantryError } from '@gantry/common';
import {
  AgentsService,
  type Connection,
  createClient,
  type ExecCommand,
  ExecExit,
  type ExecInput,
  ExecOutput,
  ExecStreamMessage,
} from '@gantry/proto';
import type { ExecRequest, ExecSession } from '../runtime/runtime.ts';

/** Exit code of a command that could not be run, as a shell has it. */
const notRun = 126;

export interface ExecStreamInput {
  stream: string;
  command: ExecCommand;
  connection: Connection;
  signal: AbortSignal;
  /** Runs the process in the container. */
  open: (request: ExecRequest) => Promise<ExecSession>;
}

/** Runs a command in a container and carries its input and output over a stream of its own. */
export async function runExec(input: ExecStreamInput): Promise<void> {
  const left = new AbortController();
  const signal = AbortSignal.any([input.signal, left.signal]);
  const client = createClient(AgentsService, input.connection);
  const session = Promise.resolve().then(() => input.open(requestOf(input.command)));
  // both sides below see the failure; this one must not count as unhandled
  session.catch(() => {});
  const onAbort = () =>
    void session.then(
      (open) => open.close(),
      () => {},
    );
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for await (const message of client.execStream(outputs(input.stream, session), { signal })) await feed(session, message);
  } finally {
    left.abort();
  }
}

function requestOf({ start }: ExecCommand): ExecRequest {
  if (!start || start.command.length === 0) throw new GantryError(Code.invalidArgument, 'cannot exec: a command must be named');
  const { command, environment, user, workingDir, tty, stdin, size } = start;
  return { args: command, environment, user, workingDir, tty, stdin, rows: size?.rows ?? 0, columns: size?.columns ?? 0 };
}

async function* outputs(stream: string, opening: Promise<ExecSession>): AsyncGenerator<ExecStreamMessage> {
  const message = (output: Partial<ExecOutput>) => ExecStreamMessage.create({ stream, output: ExecOutput.create(output) });
  try {
    const session = await opening;
    yield message({ started: true });
    for await (const { stream: kind, data } of session.output) yield message(kind === 'stdout' ? { stdout: data } : { stderr: data });
    yield message({ exit: ExecExit.create({ exitCode: await session.exitCode }) });
  } catch (error) {
    yield message({ exit: ExecExit.create({ exitCode: notRun, error: GantryError.from(error).message }) });
  }
}

async function feed(opening: Promise<ExecSession>, input: ExecInput): Promise<void> {
  const session = await opening.catch(() => undefined);
  if (!session) return;
  if (input.stdin) await session.write(input.stdin);
  if (input.stdinClosed) session.closeInput();
  if (input.resize) session.resize(input.resize.rows, input.resize.columns);
  if (input.signal) session.signal(input.signal);
}
