import { Code, GantryError } from '@gantry/common';
import { type Column, tableLines } from './table.ts';

export const formats = ['table', 'wide', 'json', 'yaml', 'name'] as const;
export type Format = (typeof formats)[number];

export interface Listing<T> {
  rows: readonly T[];
  columns: readonly Column<T>[];
  name: (row: T) => string;
  /** The answer in the protobuf JSON mapping. */
  json: () => unknown;
  /** Said instead of an empty table. */
  empty: string;
}

/** Writes text to standard output and waits until it is taken. */
export function write(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (error) reject(new GantryError(Code.cancelled, `cannot write to standard output: ${error.message}`, { cause: error }));
      else resolve();
    });
  });
}

/** Says something that is not the answer itself. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Columns of the terminal, 80 when it does not say; without one nothing is cut. */
export function terminalWidth(stream: NodeJS.WriteStream = process.stdout): number {
  return stream.isTTY ? stream.columns || 80 : Number.POSITIVE_INFINITY;
}

/** Prints a record as JSON or, when asked for, as YAML. */
export async function printRecord(format: Format, json: unknown): Promise<void> {
  if (format !== 'yaml') return write(`${JSON.stringify(json, null, 2)}\n`);
  const { stringify } = await import('./yaml.ts');
  return write(stringify(json));
}

/** Prints a listing in the format asked for. */
export async function print<T>(format: Format, listing: Listing<T>): Promise<void> {
  if (format === 'json' || format === 'yaml') return printRecord(format, listing.json());
  if (format === 'name') return write(listing.rows.map((row) => `${listing.name(row)}\n`).join(''));
  if (listing.rows.length === 0) return say(listing.empty);
  const columns = listing.columns.filter((column) => format === 'wide' || !column.wide);
  return write(`${tableLines(listing.rows, columns, terminalWidth()).join('\n')}\n`);
}
