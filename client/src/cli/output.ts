import { stringify } from 'yaml';
import type { Format } from './format.ts';
import { type Column, tableLines } from './table.ts';

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
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

/** Columns of the terminal; without one nothing is cut. */
export function terminalWidth(): number {
  return process.stdout.isTTY ? (process.stdout.columns ?? 80) : Number.POSITIVE_INFINITY;
}

/** Prints a listing in the format asked for. */
export async function print<T>(format: Format, listing: Listing<T>): Promise<void> {
  switch (format) {
    case 'json':
      return write(`${JSON.stringify(listing.json(), null, 2)}\n`);
    case 'yaml':
      return write(stringify(listing.json()));
    case 'name':
      return write(listing.rows.map((row) => `${listing.name(row)}\n`).join(''));
    default: {
      if (listing.rows.length === 0) {
        process.stderr.write(`${listing.empty}\n`);
        return;
      }
      const columns = listing.columns.filter((column) => format === 'wide' || !column.wide);
      return write(`${tableLines(listing.rows, columns, terminalWidth()).join('\n')}\n`);
    }
  }
}
