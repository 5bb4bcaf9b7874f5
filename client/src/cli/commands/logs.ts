import { type LogEntry, LogEntryStream, ReadLogsRequest } from '@gantry/proto';
import type { GantryClient } from '../../gantry-client.ts';
import { errorStyle, style } from '../style.ts';

export interface LogsFlags {
  follow: boolean;
  /** Microseconds since the epoch; 0 from the beginning. */
  since: number;
  until: number;
  tail: number;
  timestamps: boolean;
  signal: AbortSignal;
}

const palette = ['cyan', 'magenta', 'green', 'yellow', 'blue'] as const;

/** gantry logs: lines of the target's containers in time order; the name goes before each unless one container was named. */
export async function logs(client: GantryClient, target: string, flags: LogsFlags): Promise<void> {
  const { follow, since, until, tail, signal, timestamps } = flags;
  const request = ReadLogsRequest.create({ namespace: client.namespace, target, follow, since, until, tail });
  const prefixed = !isContainer(target);
  const colours = new Map<string, (typeof palette)[number]>();
  try {
    for await (const entry of client.logs.read(request, { signal })) {
      const colour = colours.get(entry.containerId) ?? palette[colours.size % palette.length]!;
      colours.set(entry.containerId, colour);
      await show(entry, { prefix: prefixed ? colour : undefined, timestamps });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** app/service.slot or a container's id. */
function isContainer(target: string): boolean {
  return /\/[^/]+\.[^/]+$/.test(target) || /^[0-9a-f]{12}$/.test(target);
}

async function show(
  entry: LogEntry,
  { prefix, timestamps }: { prefix: (typeof palette)[number] | undefined; timestamps: boolean },
): Promise<void> {
  const toError = entry.stream === LogEntryStream.stderr || entry.error;
  const out = toError ? process.stderr : process.stdout;
  const colours = toError ? errorStyle : style;
  const time = timestamps ? `${new Date(entry.at / 1000).toISOString()} ` : '';
  const name = prefix ? `${colours[prefix](entry.container)} | ` : '';
  const line = Buffer.concat([Buffer.from(`${time}${name}`), entry.line, Buffer.from('\n')]);
  if (!out.write(line)) await new Promise((resolve) => out.once('drain', resolve));
}
