import { Code, GantryError } from './errors.ts';

/** One option, declared once: its flag, environment variable, default, parser and help line. */
export interface OptionSpec<T> {
  /** "--data-dir" is derived from the key dataDir; the variable from the prefix and the key. */
  parse: (text: string) => T;
  default: T;
  help: string;
  /** What the help shows for the value, "DIR". */
  value: string;
}

export type OptionTable = Readonly<Record<string, OptionSpec<unknown>>>;
export type OptionValues<Table extends OptionTable> = { [K in keyof Table]: Table[K] extends OptionSpec<infer T> ? T : never };

/** Declares an option; keeps the type of its value. */
export function option<T>(spec: OptionSpec<T>): OptionSpec<T> {
  return spec;
}

function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export function flagOf(key: string): string {
  return `--${kebab(key)}`;
}

export function variableOf(prefix: string, key: string): string {
  return `${prefix}_${kebab(key).replaceAll('-', '_').toUpperCase()}`;
}

export interface ReadOptionsInput<Table extends OptionTable> {
  table: Table;
  /** Prefix of environment variables, "GANTRY_AGENT". */
  prefix: string;
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
}

/**
 * Values of all options: flag before variable before default.
 * @throws GantryError invalidArgument for an unknown flag or a value that does not parse.
 */
export function readOptions<Table extends OptionTable>({ table, prefix, args, env }: ReadOptionsInput<Table>): OptionValues<Table> {
  const values: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries(table)) {
    const text = env[variableOf(prefix, key)];
    values[key] = text === undefined ? spec.default : parseValue(spec, variableOf(prefix, key), text);
  }
  const byFlag = new Map(Object.keys(table).map((key) => [flagOf(key), key]));
  for (let index = 0; index < args.length; index++) {
    const [flag, inline] = splitFlag(args[index]!);
    const key = byFlag.get(flag);
    if (key === undefined) {
      throw new GantryError(Code.invalidArgument, `cannot read option "${flag}": no such option`, { details: { hint: 'see --help' } });
    }
    const text = inline ?? args[++index];
    if (text === undefined) throw new GantryError(Code.invalidArgument, `cannot read option "${flag}": a value must follow`);
    values[key] = parseValue(table[key]!, flag, text);
  }
  return values as OptionValues<Table>;
}

function splitFlag(argument: string): [string, string | undefined] {
  const equals = argument.indexOf('=');
  return equals < 0 ? [argument, undefined] : [argument.slice(0, equals), argument.slice(equals + 1)];
}

function parseValue(spec: OptionSpec<unknown>, name: string, text: string): unknown {
  try {
    return spec.parse(text);
  } catch (error) {
    throw new GantryError(Code.invalidArgument, `cannot read option ${name} "${text}": ${GantryError.from(error).message}`);
  }
}

/** The lines of --help, from the same table. */
export function optionsHelp(table: OptionTable, prefix: string): string {
  return Object.entries(table)
    .map(
      ([key, spec]) =>
        `  ${`${flagOf(key)} ${spec.value}`.padEnd(34)} ${spec.help} [${variableOf(prefix, key)}${String(spec.default) === '' ? '' : `, default ${String(spec.default)}`}]`,
    )
    .join('\n');
}
