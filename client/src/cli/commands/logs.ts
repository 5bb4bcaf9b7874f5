import { LogEntryStream, ReadLogsRequest } from '@gantry/proto';
import type { GantryClient } from '../../gantry-client.ts';
import { style } from '../style.ts';

export interface LogsFlags {
  follow: boolean;
  /** Microseconds since the epoch; 0 from the beginning. */
  since: number;
  until: number;
  tail: number;
  timestamps: boolean;
  signal: AbortSignal;
}

const palette = [style.cyan, style.magenta, style.green, style.yellow, style.blue] as const;

/** gantry logs: lines of the target's containers in time order; the name goes before each when there are several. */
export async function logs(client: GantryClient, target: string, flags: LogsFlags): Promise<void> {
  const { follow, since, until, tail, signal } = flags;
  const colours = new Map<string, (text: string) => string>();
  const prefixed = !/\.[^./]+$/.test(target);
  for await (const entry of client.logs.read(ReadLogsRequest.create({ namespace: client.namespace, target, follow, since, until, tail }), {
    signal,
  })) {
    const colour = colours.get(entry.containerId) ?? palette[colours.size % palette.length]!;
    colours.set(entry.containerId, colour);
    const time = flags.timestamps ? `${new Date(entry.at / 1000).toISOString()} ` : '';
    const prefix = prefixed ? `${colour(entry.container)} | ` : '';
    const out = entry.stream === LogEntryStream.stderr || entry.error ? process.stderr : process.stdout;
    if (!out.write(`${time}${prefix}${Buffer.from(entry.line).toString('utf8')}\n`))
      await new Promise((resolve) => out.once('drain', resolve));
  }
}
