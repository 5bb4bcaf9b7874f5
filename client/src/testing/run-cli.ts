import { GantryError } from '@gantry/common';
import { errorBlock } from '../cli/errors.ts';
import { program } from '../cli/program.ts';
import type { GantryClient } from '../gantry-client.ts';

export interface CliResult {
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs a command line in this process against a client, with what it writes caught. Not for several at once. */
export async function runCli(
  client: GantryClient,
  args: readonly string[],
  signal: AbortSignal = new AbortController().signal,
): Promise<CliResult> {
  const result = { status: 0, stdout: '', stderr: '' };
  const restore = [divert(process.stdout, (text) => (result.stdout += text)), divert(process.stderr, (text) => (result.stderr += text))];
  const note = (code: unknown) => {
    if (typeof code === 'number') result.status = code;
  };
  const tools = {
    run: async (action: (client: GantryClient) => Promise<unknown>) => note(await action(client)),
    runWaiting: async (action: (context: { client: GantryClient; signal: AbortSignal }) => Promise<unknown>) =>
      note(await action({ client, signal })),
  };
  try {
    const root = program(() => tools).exitOverride();
    for (const command of root.commands) command.exitOverride();
    await root.parseAsync([...args], { from: 'user' });
  } catch (error) {
    result.status = (error as { exitCode?: number }).exitCode ?? 1;
    if ((error as { exitCode?: number }).exitCode === undefined) result.stderr += errorBlock(GantryError.from(error));
  } finally {
    for (const back of restore) back();
  }
  return result;
}

function divert(stream: NodeJS.WriteStream, take: (text: string) => void): () => void {
  const original = stream.write.bind(stream);
  stream.write = (chunk: string | Uint8Array, ...rest: unknown[]) => {
    take(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8'));
    const done = rest.at(-1);
    if (typeof done === 'function') (done as () => void)();
    return true;
  };
  return () => {
    stream.write = original;
  };
}
