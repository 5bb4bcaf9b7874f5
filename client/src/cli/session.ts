import type { GantryClient } from '../gantry-client.ts';

/** Options that every command has. */
export interface GlobalOptions {
  contextFile?: string;
  namespace?: string;
}

/** Runs an action with a client and closes it afterwards; what a client needs is loaded only then. */
export async function withClient<T>(globals: GlobalOptions, action: (client: GantryClient) => Promise<T>): Promise<T> {
  const { findContext, readContext } = await import('../context.ts');
  const context = readContext(findContext({ file: globals.contextFile }));
  const { openClient } = await import('../gantry-client.ts');
  const client = openClient({ ...context, namespace: globals.namespace ?? context.namespace });
  try {
    return await action(client);
  } finally {
    client.close();
  }
}

/** What a shell makes of a program that Ctrl-C ended. */
export const interruptedCode = 130;

/** Runs an action whose signal aborts at the first Ctrl-C; the second one ends the program as usual. */
export async function interruptible<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const onSignal = () => controller.abort();
  process.once('SIGINT', onSignal);
  try {
    return await action(controller.signal);
  } finally {
    process.off('SIGINT', onSignal);
  }
}
