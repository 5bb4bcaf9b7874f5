import { readFileSync } from 'node:fs';
import type { GantryError } from '@gantry/common';
import { plain, style } from './style.ts';

/** The block that a user sees: what failed, where with its source line, and the next step. */
export function errorBlock(error: GantryError): string {
  const { file, line, column, hint } = error.details;
  const place = file === undefined ? '' : `${file}:${line ?? 1}:${column ?? 1}: `;
  const lines = error.message
    .split('\n')
    .map((text, index) => (index === 0 ? `${style.red('error:')} ${place}${plain(text)}` : plain(text)));
  if (file !== undefined && line !== undefined) lines.push(...source(file, line, column ?? 1));
  if (hint !== undefined) lines.push(`${style.bold('hint:')} ${plain(hint)}`);
  return `${lines.join('\n')}\n`;
}

/** The line with a caret under the column; nothing when the file cannot be read again. */
function source(file: string, line: number, column: number): string[] {
  try {
    const text = readFileSync(file, 'utf8').split('\n')[line - 1];
    if (text === undefined || text.length > 200) return [];
    return [style.dim(`  ${line} | `) + plain(text), `${' '.repeat(String(line).length + 4 + column)}${style.red('^')}`];
  } catch {
    return []; // standard input is gone by now
  }
}
