/**
 * Reads numbers out of kernel text without making strings: a node reads some thousand such files each second.
 */

const zero = 0x30;
const nine = 0x39;
const space = 0x20;
const newline = 0x0a;

/** The decimal number at `at`, after blanks; -1 when there is none. A fraction is cut off. */
export function numberAt(buffer: Uint8Array, at: number, end: number): number {
  let index = at;
  while (index < end && buffer[index] === space) index++;
  let value = -1;
  for (; index < end; index++) {
    const digit = buffer[index]!;
    if (digit < zero || digit > nine) break;
    value = (value < 0 ? 0 : value * 10) + (digit - zero);
  }
  return value;
}

/** Where the line after the one at `at` begins; `end` when there is none. */
export function nextLine(buffer: Uint8Array, at: number, end: number): number {
  let index = at;
  while (index < end && buffer[index] !== newline) index++;
  return Math.min(index + 1, end);
}

/** Whether the text at `at` is this one. */
export function startsWith(buffer: Uint8Array, at: number, end: number, text: Uint8Array): boolean {
  if (at + text.length > end) return false;
  for (let index = 0; index < text.length; index++) if (buffer[at + index] !== text[index]) return false;
  return true;
}

/** The number of the line "<key><number>"; -1 without such a line. The key ends with its separator. */
export function lineValue(buffer: Uint8Array, end: number, key: Uint8Array): number {
  for (let at = 0; at < end; at = nextLine(buffer, at, end)) {
    if (startsWith(buffer, at, end, key)) return numberAt(buffer, at + key.length, end);
  }
  return -1;
}

/** A key for `lineValue` and `startsWith`. */
export function keyOf(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}
