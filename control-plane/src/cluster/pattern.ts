import { Code, GantryError } from '@gantry/common';

/** A regular expression that takes time linear in the text, whatever users write: no back-tracking, so no way back either. */
export interface Pattern {
  /** Whether it is found somewhere in the text. */
  readonly matches: (text: string) => boolean;
}

type Accepts = (unit: number) => boolean;

/** One step of the program: reads a unit, goes two ways, holds at an edge, or is the end. */
type Step =
  | { readonly kind: 'read'; readonly accepts: Accepts }
  | { readonly kind: 'fork'; readonly to: readonly number[] }
  | { readonly kind: 'start' }
  | { readonly kind: 'end' }
  | { readonly kind: 'found' };

/** A part of the program that appends itself behind what is there. */
type Part = (program: Step[]) => void;

const stepsAtMost = 2000;
const depthAtMost = 32;

/**
 * Reads a pattern of literals, `.`, `[a-z]`, `[^a-z]`, `\d \w \s`, groups, `|`, `* + ? {n,m}`, `^` and `$`.
 * @throws GantryError invalidArgument for anything else (back references, look-around), and when it is too large.
 */
export function parsePattern(source: string): Pattern {
  const program: Step[] = [];
  new Reader(source).whole()(program);
  append(program, { kind: 'found' });
  return { matches: (text) => run(program, text) };
}

function append(program: Step[], step: Step): number {
  if (program.length >= stepsAtMost) throw failure('at most 2000 steps when its repetitions are written out');
  return program.push(step) - 1;
}

function failure(must: string): GantryError {
  return new GantryError(Code.invalidArgument, `the pattern must be ${must}`);
}

const isDigit: Accepts = (unit) => unit >= 48 && unit <= 57;
const isWord: Accepts = (unit) => isDigit(unit) || (unit >= 65 && unit <= 90) || (unit >= 97 && unit <= 122) || unit === 95;
const isSpace: Accepts = (unit) => /\s/.test(String.fromCharCode(unit));
const isNewline: Accepts = (unit) => unit === 10 || unit === 13 || unit === 0x2028 || unit === 0x2029;
const not =
  (accepts: Accepts): Accepts =>
  (unit) =>
    !accepts(unit);
const classes = new Map<string, Accepts>([
  ['d', isDigit],
  ['w', isWord],
  ['s', isSpace],
  ['D', not(isDigit)],
  ['W', not(isWord)],
  ['S', not(isSpace)],
]);

const read =
  (accepts: Accepts): Part =>
  (program) => {
    append(program, { kind: 'read', accepts });
  };
const edge =
  (kind: 'start' | 'end'): Part =>
  (program) => {
    append(program, { kind });
  };
const sequence =
  (parts: readonly Part[]): Part =>
  (program) => {
    for (const part of parts) part(program);
  };

/** Goes on behind one of the choices: every choice but the last ends with a jump behind all of them. */
function choice(parts: readonly Part[]): Part {
  if (parts.length === 1) return parts[0]!;
  return (program) => {
    const jumps: number[] = [];
    for (const [index, part] of parts.entries()) {
      const isLast = index === parts.length - 1;
      const fork = isLast ? -1 : append(program, { kind: 'fork', to: [] });
      part(program);
      if (isLast) break;
      jumps.push(append(program, { kind: 'fork', to: [] }));
      program[fork] = { kind: 'fork', to: [fork + 1, program.length] };
    }
    for (const jump of jumps) program[jump] = { kind: 'fork', to: [program.length] };
  };
}

function repeated(part: Part, least: number, most: number): Part {
  return (program) => {
    for (let count = 0; count < least; count++) part(program);
    if (most === Number.POSITIVE_INFINITY) {
      const fork = append(program, { kind: 'fork', to: [] });
      part(program);
      append(program, { kind: 'fork', to: [fork] });
      program[fork] = { kind: 'fork', to: [fork + 1, program.length] };
      return;
    }
    const forks: number[] = [];
    for (let count = least; count < most; count++) {
      forks.push(append(program, { kind: 'fork', to: [] }));
      part(program);
    }
    for (const fork of forks) program[fork] = { kind: 'fork', to: [fork + 1, program.length] };
  };
}

/** Reads the notation by descent. */
class Reader {
  readonly #source: string;
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  whole(): Part {
    const part = this.#choice(0);
    if (this.#at < this.#source.length) throw failure(`complete, found a ")" too many at ${this.#at + 1}`);
    return part;
  }

  #choice(depth: number): Part {
    if (depth > depthAtMost) throw failure(`nested at most ${depthAtMost} deep`);
    const parts = [this.#sequence(depth)];
    while (this.#take('|')) parts.push(this.#sequence(depth));
    return choice(parts);
  }

  #sequence(depth: number): Part {
    const parts: Part[] = [];
    while (this.#at < this.#source.length && !'|)'.includes(this.#source[this.#at]!)) parts.push(this.#repeated(depth));
    return sequence(parts);
  }

  #repeated(depth: number): Part {
    const single = this.#single(depth);
    const times = /^(?:([*+?])|\{(\d{1,3})(,(\d{1,3})?)?\})/.exec(this.#source.slice(this.#at));
    if (!times) return single;
    this.#at += times[0].length;
    if (/^[*+?{]/.test(this.#source.slice(this.#at))) throw failure(`without a repetition of a repetition, found one at ${this.#at + 1}`);
    const [, sign, low, range, high] = times;
    if (sign !== undefined) return repeated(single, sign === '+' ? 1 : 0, sign === '?' ? 1 : Number.POSITIVE_INFINITY);
    const least = Number(low);
    const most = range === undefined ? least : high === undefined ? Number.POSITIVE_INFINITY : Number(high);
    if (most < least) throw failure(`repeated from the smaller to the larger number, found ${times[0]}`);
    return repeated(single, least, most);
  }

  #single(depth: number): Part {
    const character = this.#source[this.#at++]!;
    switch (character) {
      case '(': {
        if (this.#take('?') && !this.#take(':')) throw failure(`without look-around and named groups, found "(?" at ${this.#at - 1}`);
        const inner = this.#choice(depth + 1);
        if (!this.#take(')')) throw failure('complete, found a "(" that is not closed');
        return inner;
      }
      case '[':
        return read(this.#set());
      case '.':
        return read(not(isNewline));
      case '^':
        return edge('start');
      case '$':
        return edge('end');
      case '\\':
        return read(this.#escaped());
      case '*':
      case '+':
      case '?':
      case '{':
      case '}':
      case ']':
        throw failure(`complete, found a "${character}" with nothing before it at ${this.#at}; write \\${character} for the character`);
      default:
        return read(only(character.charCodeAt(0)));
    }
  }

  #set(): Accepts {
    const negated = this.#take('^');
    const items: Accepts[] = [];
    while (!this.#take(']')) {
      if (this.#at >= this.#source.length) throw failure('complete, found a "[" that is not closed');
      const [low, any] = this.#item();
      if (any || this.#source[this.#at] !== '-' || this.#source[this.#at + 1] === ']') {
        items.push(any ?? only(low));
        continue;
      }
      this.#at++;
      const [high, isClass] = this.#item();
      if (isClass || high < low) throw failure(`a set with ranges from the lower to the higher character, found another at ${this.#at}`);
      items.push((unit) => unit >= low && unit <= high);
    }
    const some: Accepts = (unit) => items.some((item) => item(unit));
    return negated ? not(some) : some;
  }

  /** One character of a set, or a class such as \d. */
  #item(): [unit: number, any: Accepts | undefined] {
    const character = this.#source[this.#at++];
    if (character === undefined) throw failure('complete, found a "[" that is not closed');
    if (character !== '\\') return [character.charCodeAt(0), undefined];
    const next = this.#source[this.#at] ?? '';
    const accepts = this.#escaped();
    return [next.charCodeAt(0), classes.has(next) ? accepts : undefined];
  }

  #escaped(): Accepts {
    const character = this.#source[this.#at++];
    const known = classes.get(character ?? '');
    if (known) return known;
    if (character === undefined || isWord(character.charCodeAt(0))) {
      throw failure(`of plain escapes (\\d \\w \\s \\. and the like), found "\\${character ?? ''}"`);
    }
    return only(character.charCodeAt(0));
  }

  #take(character: string): boolean {
    if (this.#source[this.#at] !== character) return false;
    this.#at++;
    return true;
  }
}

function only(wanted: number): Accepts {
  return (unit) => unit === wanted;
}

/** Follows all ways through the program at once: at most all its steps for each unit of the text. */
function run(program: readonly Step[], text: string): boolean {
  const entered = new Int32Array(program.length).fill(-1);
  let active: number[] = [];
  for (let at = 0; at <= text.length; at++) {
    active.push(0); // it may begin anywhere
    const waiting: number[] = [];
    for (let step = active.pop(); step !== undefined; step = active.pop()) {
      if (entered[step] === at) continue;
      entered[step] = at;
      const { [step]: present } = program;
      if (present!.kind === 'found') return true;
      if (present!.kind === 'read') waiting.push(step);
      else if (present!.kind === 'fork') active.push(...present!.to);
      else if (at === (present!.kind === 'start' ? 0 : text.length)) active.push(step + 1);
    }
    const unit = text.charCodeAt(at);
    active = waiting.filter((step) => (program[step] as { accepts: Accepts }).accepts(unit)).map((step) => step + 1);
  }
  return false;
}
