import type { Variables } from './interpolate.ts';
import type { Problems } from './problems.ts';
import { closest } from './suggest.ts';
import { type Entry, type MappingValue, show, type Value } from './tree.ts';

/** What every reader has at hand. */
export interface Context {
  readonly problems: Problems;
  readonly variables: Variables;
  /** Content of a file named in the manifest. @throws when it cannot be read. */
  readonly readFile: (path: string) => Uint8Array;
}

/** Turns a value into what it means, or notes why it cannot and returns undefined. */
export type Read<T> = (value: Value, context: Context) => T | undefined;

/** Keys of a mapping, each with its reader. */
export type Table = Readonly<Record<string, Read<unknown>>>;
export type Values<T extends Table> = { [K in keyof T]?: T[K] extends Read<infer V> ? V : never };

/** A mapping that was read by its table. */
export interface Fields<T extends Table> {
  readonly values: Values<T>;
  readonly path: string;
  /** Offset of the mapping itself. */
  readonly start: number;
  readonly has: (key: keyof T) => boolean;
  /** Offset of a key, or of the mapping when it is absent. */
  readonly at: (key: keyof T) => number;
}

export interface MappingOptions {
  /** Keys of Compose that are not taken, with the reason and the way out. */
  readonly refused?: Readonly<Record<string, string>>;
  /** Whether `x-` keys of the user's own are passed over (they hold anchors); `x-gantry` never is. */
  readonly extensions?: boolean;
}

/** Notes that a value is not what it must be. */
export function mustBe(value: Value, context: Context, must: string, hint?: string): undefined {
  return context.problems.refuse(value.at, `cannot read "${value.path || 'manifest'}": must be ${must}, found ${show(value)}`, hint);
}

/** A mapping with exactly these keys, all optional. */
export function mapping<T extends Table>(table: T, { refused = {}, extensions = false }: MappingOptions = {}): Read<Fields<T>> {
  return (value, context) => {
    if (value.kind !== 'mapping') return mustBe(value, context, `a mapping of ${listed(Object.keys(table))}`);
    const values: Record<string, unknown> = {};
    for (const entry of value.entries.values()) {
      const read = Object.hasOwn(table, entry.key) ? table[entry.key] : undefined;
      if (read) {
        const result = read(placed(entry), context);
        if (result !== undefined) values[entry.key] = result;
      } else if (!(extensions && isExtension(entry.key))) {
        refuseKey(value, entry, context, refused, Object.keys(table));
      }
    }
    return {
      values: values as Values<T>,
      path: value.path,
      start: value.at,
      has: (key) => value.entries.has(key as string),
      at: (key) => value.entries.get(key as string)?.at ?? value.at,
    };
  };
}

/** A value with the place of its key; one that is missing ("key:") stands there itself. */
function placed({ value, at }: Entry): Value {
  return value.kind === 'scalar' && value.text === undefined ? { ...value, at, keyAt: at } : { ...value, keyAt: at };
}

/** Notes that a mapping lacks something, at its key. */
export function mustHave(value: Value, context: Context, what: string, hint?: string): undefined {
  return context.problems.refuse(value.keyAt ?? value.at, `cannot read "${value.path || 'manifest'}": must have ${what}`, hint);
}

function isExtension(key: string): boolean {
  return key.startsWith('x-') && closest(key, ['x-gantry']) === undefined;
}

function refuseKey(
  within: MappingValue,
  entry: Entry,
  context: Context,
  refused: Readonly<Record<string, string>>,
  known: readonly string[],
): void {
  const path = within.path === '' ? entry.key : `${within.path}.${entry.key}`;
  const shown = path.length > 120 ? `${path.slice(0, 117)}...` : path;
  const reason = Object.hasOwn(refused, entry.key) ? refused[entry.key] : undefined;
  if (reason !== undefined) {
    context.problems.refuse(entry.at, `cannot use "${shown}": not supported`, reason);
    return;
  }
  const meant = closest(entry.key, known);
  const hint = meant === undefined ? undefined : `did you mean "${meant}"?`;
  context.problems.refuse(entry.at, `cannot read "${shown}": unknown key, allowed are ${listed(known)}`, hint);
}

/** "a, b and c"; the first dozen of many. */
export function listed(words: readonly string[]): string {
  if (words.length > 14) return `${words.slice(0, 12).join(', ')} and ${words.length - 12} more`;
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

/** A mapping whose keys are names of the user's choice; values of undefined are left out. */
export function named<T>(what: string, checkName: Read<string>, read: Read<T>): Read<Located<{ name: string; value: T }>[]> {
  return (value, context) => {
    if (value.kind !== 'mapping') return mustBe(value, context, `a mapping of ${what}`);
    const found: Located<{ name: string; value: T }>[] = [];
    for (const entry of value.entries.values()) {
      const name = checkName({ kind: 'scalar', at: entry.at, path: value.path, text: entry.key }, context);
      const result = read(placed(entry), context);
      if (name !== undefined && result !== undefined) found.push({ at: entry.at, item: { name, value: result } });
    }
    return found;
  };
}

/** Something with its place in the text. */
export interface Located<T> {
  readonly at: number;
  readonly item: T;
}

/** A list of at most `most` items; bad ones are left out. */
export function list<T>(read: Read<T>, what: string, most = 1000): Read<T[]> {
  const each = located(read, what, most);
  return (value, context) => each(value, context)?.map(({ item }) => item);
}

/** As `list`, with the place of each item. */
export function located<T>(read: Read<T>, what: string, most = 1000): Read<Located<T>[]> {
  return (value, context) => {
    if (value.kind !== 'list') return mustBe(value, context, `a list of ${what}`);
    if (value.items.length > most) {
      return context.problems.refuse(value.at, `cannot read "${value.path}": must be at most ${most} ${what}, found ${value.items.length}`);
    }
    return value.items.flatMap((inner) => {
      const item = read(inner, context);
      return item === undefined ? [] : [{ at: inner.at, item }];
    });
  };
}
