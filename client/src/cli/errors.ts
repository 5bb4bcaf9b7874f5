import type { GantryError } from '@gantry/common';
import { plain, errorStyle as style } from './style.ts';

/** Everything that is wrong with a manifest, and its text to point into. */
export class ManifestFault {
  readonly errors: readonly GantryError[];
  readonly text: string;

  constructor(errors: readonly GantryError[], text: string) {
    this.errors = errors;
    this.text = text;
  }
}

/** The block that a user sees: what failed, where with its source line, and the next step; one for each error of a manifest. */
export function errorBlock(error: GantryError): string {
  if (error.cause instanceof ManifestFault) {
    const lines = error.cause.text.split('\n');
    return error.cause.errors.map((one) => block(one, lines)).join('');
  }
  return block(error, []);
}

function block(error: GantryError, source: readonly string[]): string {
  const { file, line, column = 1, hint } = error.details;
  const place = file === undefined ? '' : `${file}:${line ?? 1}:${column}: `;
  const lines = [`${style.red('error:')} ${place}${plain(error.message)}`];
  if (line !== undefined) lines.push(...pointed(source[line - 1], line, column));
  if (hint !== undefined) lines.push(`${style.bold('hint:')} ${plain(hint)}`);
  return `${lines.join('\n')}\n`;
}

const longest = 160;

/** The source line with a caret under the column; nothing for lines that no terminal shows whole. */
function pointed(text: string | undefined, line: number, column: number): string[] {
  if (text === undefined || text.length > longest) return [];
  const margin = `  ${line} | `;
  return [`${style.dim(margin)}${plain(text).replaceAll('\t', ' ')}`, `${' '.repeat(margin.length + column - 1)}${style.red('^')}`];
}
