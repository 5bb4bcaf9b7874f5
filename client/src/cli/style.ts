import { stripVTControlCharacters } from 'node:util';
import pc from 'picocolors';

/** Whether a stream shows colours: a terminal that is not dumb, and no NO_COLOR. */
function shows(stream: NodeJS.WriteStream): boolean {
  // oxlint-disable-next-line typescript/no-unnecessary-type-conversion -- without a terminal it is undefined, and the library would decide (it colours whenever CI is set)
  return Boolean(stream.isTTY) && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

/** Colours for standard output. */
export const style = pc.createColors(shows(process.stdout));
/** Colours for standard error. */
export const errorStyle = pc.createColors(shows(process.stderr));
export type Style = typeof style;

/** Text of a remote end without control characters: it must not move the cursor or change colours. */
export function plain(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/\p{Cc}/gu, (character) => (character === '\n' || character === '\t' ? character : ''));
}

/** The name of an enum's value. */
export function nameOf(values: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(values).find((key) => values[key] === value) ?? String(value);
}

const meanings: Readonly<Record<string, (text: string) => string>> = {
  running: style.green,
  complete: style.green,
  ready: style.green,
  succeeded: style.green,
  failed: style.red,
  rejected: style.red,
  lost: style.red,
  pending: style.yellow,
  preparing: style.yellow,
  starting: style.yellow,
  assigned: style.yellow,
  stopping: style.yellow,
  cordoned: style.yellow,
  draining: style.yellow,
};

/** A word in the colour of its meaning. */
export function coloured(word: string): string {
  return (meanings[word] ?? ((text: string) => text))(word);
}
