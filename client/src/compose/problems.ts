import { Code, GantryError } from '@gantry/common';
import type { LineCounter } from 'yaml';

/** Most problems that one reading reports. */
const reported = 20;
/** Most problems that are kept until they are sorted. */
const kept = 1000;

/** Most letters of a message: what was found may be of any length. */
const longest = 400;

/** What is wrong with a manifest: every problem with its place, so that one reading tells all. */
export class Problems {
  readonly #file: string;
  readonly #lines: LineCounter;
  readonly #errors: { at: number; error: GantryError }[] = [];
  readonly #warnings: string[] = [];

  constructor(file: string, lines: LineCounter) {
    this.#file = file;
    this.#lines = lines;
  }

  /** Notes an error at an offset of the text; returns undefined, which is what a reader returns then. */
  refuse(at: number, message: string, hint?: string): undefined {
    if (this.#errors.length >= kept) return undefined;
    const { line, col: column } = this.#position(at);
    const details = { file: this.#file, line, column, ...(hint === undefined ? {} : { hint }) };
    const short = message.length > longest ? `${message.slice(0, longest - 3)}...` : message;
    this.#errors.push({ at, error: new GantryError(Code.invalidArgument, short, { details }) });
    return undefined;
  }

  warn(at: number, message: string): void {
    const { line, col } = this.#position(at);
    if (this.#warnings.length < reported) this.#warnings.push(`${this.#file}:${line}:${col}: ${message}`);
  }

  /** The errors in the order of the text, at most 20. */
  errors(): GantryError[] {
    return this.#errors
      .toSorted((a, b) => a.at - b.at)
      .slice(0, reported)
      .map(({ error }) => error);
  }

  warnings(): string[] {
    return this.#warnings;
  }

  #position(at: number): { line: number; col: number } {
    const { line, col } = this.#lines.linePos(at);
    return { line: Math.max(1, line), col: Math.max(1, col) };
  }
}
