import { stripVTControlCharacters } from 'node:util';
import { style } from './style.ts';

export interface Column<T> {
  header: string;
  value: (row: T) => string;
  /** Right-aligned, for figures. */
  right?: boolean;
  /** Shown with `-o wide` only. */
  wide?: boolean;
  /** May be cut when the terminal is too narrow; default only the last column. */
  flexible?: boolean;
}

const gap = '  ';
const leastWidth = 8;

const wide = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f300}-\u{1faff}]/u;
const combining = /\p{M}|\p{Cf}/u;

/** Columns that a text takes on a terminal: escape sequences and combining marks none, wide characters two. */
export function textWidth(text: string): number {
  let width = 0;
  for (const character of stripVTControlCharacters(text)) width += combining.test(character) ? 0 : wide.test(character) ? 2 : 1;
  return width;
}

/** The text without its colours and cut when it is wider. */
export function cutText(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  let shown = '';
  let used = 1;
  for (const character of stripVTControlCharacters(text)) {
    used += textWidth(character);
    if (used > width) break;
    shown += character;
  }
  return `${shown}…`;
}

/** Lines of a table that fits `width` columns where cutting its flexible columns allows that. */
export function tableLines<T>(rows: readonly T[], columns: readonly Column<T>[], width = Number.POSITIVE_INFINITY): string[] {
  const cells = rows.map((row) => columns.map((column) => column.value(row).replaceAll(/\s*\n\s*/g, ' ')));
  const widths = columns.map((column, index) =>
    cells.reduce((most, line) => Math.max(most, textWidth(line[index]!)), textWidth(column.header)),
  );
  let over = widths.reduce((sum, one) => sum + one, 0) + gap.length * (columns.length - 1) - width;
  for (let index = columns.length - 1; index >= 0 && over > 0; index--) {
    if (!(columns[index]!.flexible ?? index === columns.length - 1)) continue;
    const less = Math.min(over, widths[index]! - Math.min(widths[index]!, leastWidth));
    widths[index]! -= less;
    over -= less;
  }
  const line = (texts: readonly string[]) =>
    texts
      .map((text, index) => {
        const shown = cutText(text, widths[index]!);
        const padding = ' '.repeat(Math.max(0, widths[index]! - textWidth(shown)));
        if (columns[index]!.right) return padding + shown;
        return shown + padding;
      })
      .join(gap)
      .trimEnd();
  return [style.bold(line(columns.map((column) => column.header))), ...cells.map(line)];
}
