import { GantryError } from '@gantry/common';
import { AgentsService, type Connection, createClient, type LogCommand, LogEntry, LogEntryStream, LogStreamMessage } from '@gantry/proto';
import type { LogLine } from './log-line.ts';
import { readLog } from './log-reader.ts';

/** Lines in one message at most. */
const batchLines = 256;

export interface LogStreamInput {
  stream: string;
  command: LogCommand;
  connection: Connection;
  signal: AbortSignal;
  /** The folder of the log; undefined when there is none. */
  folder: () => string | undefined;
  /** Whether the container will write nothing more. */
  ended: () => boolean;
}

/** Sends a container's log over a stream of its own until it ends or the control plane has enough. */
export async function sendLogs(input: LogStreamInput): Promise<void> {
  const left = new AbortController();
  const signal = AbortSignal.any([input.signal, left.signal]);
  const client = createClient(AgentsService, input.connection);
  try {
    for await (const control of client.logStream(messages(input, signal), { signal })) if (control.cancel) break;
  } finally {
    left.abort();
  }
}

async function* messages({ stream, command, folder, ended }: LogStreamInput, signal: AbortSignal): AsyncGenerator<LogStreamMessage> {
  const { containerId, follow, since, until, tail } = command;
  if (folder() === undefined && !follow) {
    yield LogStreamMessage.create({ stream, error: `no log of container "${containerId}" is on this node` });
    return;
  }
  yield LogStreamMessage.create({ stream });
  try {
    for await (const lines of readLog({ folder, follow, since, until, tail, ended, signal })) {
      for (let at = 0; at < lines.length; at += batchLines) {
        const entries = lines.slice(at, at + batchLines).map((line) => entryOf(containerId, line));
        yield LogStreamMessage.create({ stream, entries });
      }
    }
  } catch (error) {
    yield LogStreamMessage.create({ stream, error: GantryError.from(error).message });
  }
}

function entryOf(containerId: string, { at, stream, text }: LogLine): LogEntry {
  return LogEntry.create({ at, containerId, line: text, stream: stream === 'stdout' ? LogEntryStream.stdout : LogEntryStream.stderr });
}
