/** One line of a log file in CRI text format: time, stream, tag, text. */
export interface LogLine {
  /** Microseconds since the epoch. */
  at: number;
  stream: 'stdout' | 'stderr';
  /** The container's line goes on in the next entry. */
  partial: boolean;
  text: Buffer;
}

/** Microseconds of "2026-11-23T23:08:01.123456789Z"; NaN for anything else. */
export function parseTime(text: string): number {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(text);
  if (!match) return Number.NaN;
  return Date.parse(`${match[1]}Z`) * 1000 + Number((match[2] ?? '').padEnd(6, '0').slice(0, 6));
}

/** Reads a line without its newline; undefined for one that was cut short or is no log line. */
export function parseLine(line: Buffer): LogLine | undefined {
  const first = line.indexOf(0x20);
  const second = first < 0 ? -1 : line.indexOf(0x20, first + 1);
  const third = second < 0 ? -1 : line.indexOf(0x20, second + 1);
  if (third < 0) return undefined;
  const at = parseTime(line.toString('latin1', 0, first));
  const stream = line.toString('latin1', first + 1, second);
  const tag = line.toString('latin1', second + 1, third);
  if (Number.isNaN(at) || (stream !== 'stdout' && stream !== 'stderr') || (tag !== 'F' && tag !== 'P')) return undefined;
  return { at, stream, partial: tag === 'P', text: line.subarray(third + 1) };
}
