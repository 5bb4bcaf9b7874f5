import type { GantryClient } from '../gantry-client.ts';

/** Options that every command has. */
export interface GlobalOptions {
  contextFile?: string;
  namespace?: string;
}

/** Runs an action with a client and closes it afterwards. */
export async function withClient<T>(globals: GlobalOptions, action: (client: GantryClient) => Promise<T>): Promise<T> {
  // loaded here, so that commands which need no server start without the whole client
  const [{ findContext, readContext }, { openClient }] = await Promise.all([import('../context.ts'), import('../gantry-client.ts')]);
  const context = readContext(findContext({ file: globals.contextFile }));
  const client = openClient({ ...context, namespace: globals.namespace ?? context.namespace });
  try {
    return await action(client);
  } finally {
    client.close();
  }
}

/** Aborts at the first Ctrl-C; the second one ends the program as usual. */
export function interrupt(): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController();
  const onSignal = () => controller.abort();
  process.once('SIGINT', onSignal);
  return { signal: controller.signal, release: () => process.off('SIGINT', onSignal) };
}
