import { Code, GantryError } from '@gantry/common';
import { interpolate, type Variables } from './interpolate.ts';
import { flag, oneOf, text } from './scalars.ts';
import { type Context, list, mapping, mustBe, type Read } from './shape.ts';
import type { Value } from './tree.ts';

const mostEntries = 256;
const mostBytes = 128 * 1024;
const mostLabels = 64;

/** A key that would not survive as a property of a record. */
function isPlain(key: string): boolean {
  return key !== '' && key !== '__proto__' && key !== 'constructor';
}

interface PairsOptions {
  what: string;
  /** Form of the keys. */
  key: RegExp;
  most: number;
  /** Value of a key that stands alone; undefined refuses it. */
  alone: (key: string, context: Context) => string | undefined;
  aloneHint: string;
}

/** `KEY: value` as a mapping, or a list of `KEY=value`. */
function pairs({ what, key: form, most, alone, aloneHint }: PairsOptions): Read<Record<string, string>> {
  return (value, context) => {
    if (value.kind === 'scalar') return mustBe(value, context, `a mapping or a list of ${what}`);
    const found: Record<string, string> = {};
    const add = (at: Value, atKey: number, key: string, content: string | undefined): void => {
      const path = `${value.path}.${key.slice(0, 80)}`;
      if (!isPlain(key) || !form.test(key)) {
        context.problems.refuse(
          atKey,
          `cannot read "${path}": must be named by a plain word without "=" or spaces, found ${JSON.stringify(key.slice(0, 80))}`,
        );
        return;
      }
      const known = content ?? alone(key, context);
      if (known === undefined) context.problems.refuse(atKey, `cannot read "${path}": must have a value, found nothing`, aloneHint);
      else if (Object.hasOwn(found, key)) context.problems.refuse(at.at, `cannot read "${path}": must stand once, found it again`);
      else found[key] = known;
    };
    if (value.kind === 'mapping') {
      for (const { key, at, value: inner } of value.entries.values()) {
        if (inner.kind === 'scalar') add(inner, at, key, inner.text);
        else mustBe(inner, context, 'text');
      }
    } else {
      for (const item of value.items) {
        const words = text(`"KEY=value"`, undefined, mostBytes)(item, context);
        if (words === undefined) continue;
        const equals = words.indexOf('=');
        add(item, item.at, equals < 0 ? words : words.slice(0, equals), equals < 0 ? undefined : words.slice(equals + 1));
      }
    }
    return bounded(found, value, context, what, most);
  };
}

function bounded(
  found: Record<string, string>,
  value: Value,
  context: Context,
  what: string,
  most: number,
): Record<string, string> | undefined {
  const count = Object.keys(found).length;
  const size = Object.entries(found).reduce((sum, [key, content]) => sum + Buffer.byteLength(key) + Buffer.byteLength(content) + 2, 0);
  if (count > most)
    return context.problems.refuse(value.at, `cannot read "${value.path}": must be at most ${most} ${what}, found ${count}`);
  if (size <= mostBytes) return found;
  return context.problems.refuse(value.at, `cannot read "${value.path}": must be at most ${mostBytes} bytes in all, found ${size}`);
}

/** `environment`: a key alone takes its value from the caller's own environment. */
export const environment = pairs({
  what: 'variables',
  key: /^[^\s=]+$/,
  most: mostEntries,
  alone: (key, { variables }) => (Object.hasOwn(variables, key) ? variables[key] : undefined),
  aloneHint: 'a key alone takes its value from your environment, where it is not set; for an empty value write ""',
});

const allLabels = pairs({ what: 'labels', key: /^[^\s=]+$/, most: mostLabels, alone: () => '', aloneHint: '' });

export const labels: Read<Record<string, string>> = (value, context) => {
  const found = allLabels(value, context);
  if (!found) return undefined;
  const long = Object.entries(found).find(([key, content]) => Buffer.byteLength(key + content) > 256);
  if (!long) return found;
  const path = `${value.path}.${long[0].slice(0, 40)}`;
  return context.problems.refuse(
    value.at,
    `cannot read "${path}": must be at most 256 bytes with its value, found ${Buffer.byteLength(long[0] + long[1])}`,
  );
};

const sysctlPairs = pairs({ what: 'settings', key: /^\S+$/, most: mostLabels, alone: () => undefined, aloneHint: 'write "name=value"' });
const namespacedSysctl = /^(net\.[\w./-]+|kernel\.(msg\w+|sem|shm\w+)|fs\.mqueue\.\w+)$/;

/** `sysctls`: those that belong to the container's own namespaces. */
export const sysctls: Read<Record<string, string>> = (value, context) => {
  const found = sysctlPairs(value, context);
  const foreign = Object.keys(found ?? {}).find((key) => !namespacedSysctl.test(key));
  if (foreign === undefined) return found;
  const must = "of the container's own namespaces (net.*, kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*)";
  return context.problems.refuse(value.at, `cannot use sysctl "${foreign.slice(0, 80)}": must be ${must}, found one of the host`);
};

const envFile = mapping({ path: text('a path'), required: flag, format: oneOf({ raw: true }) });

/** `env_file`: variables of the files, the last one wins. */
export const envFiles: Read<Record<string, string>> = (value, context) => {
  const each: Read<Record<string, string>> = (item, inner) => {
    if (item.kind === 'scalar') {
      const path = text('a path')(item, inner);
      return path === undefined ? undefined : readEnvFile(item, inner, path, { required: true, raw: false });
    }
    const fields = envFile(item, inner);
    if (!fields) return undefined;
    const { path, required = true, format: raw = false } = fields.values;
    return path === undefined ? mustBe(item, inner, 'a mapping with path') : readEnvFile(item, inner, path, { required, raw });
  };
  const found = value.kind === 'list' ? list(each, 'files', 32)(value, context) : [each(value, context) ?? {}];
  return found ? bounded(Object.assign({}, ...found) as Record<string, string>, value, context, 'variables', mostEntries) : undefined;
};

function readEnvFile(
  value: Value,
  { readFile, variables, problems }: Context,
  path: string,
  { required, raw }: { required: boolean; raw: boolean },
): Record<string, string> | undefined {
  let content: string;
  try {
    content = new TextDecoder('utf-8', { fatal: true }).decode(readFile(path));
  } catch (error) {
    if (!required) return {};
    return problems.refuse(value.at, `cannot read env_file "${path}": ${GantryError.from(error).message}`);
  }
  try {
    return parseEnvFile(content, raw ? undefined : variables);
  } catch (error) {
    const { message, details } = GantryError.from(error);
    return problems.refuse(value.at, `cannot read env_file "${path}": ${message}`, details.hint);
  }
}

/**
 * Variables of a file with lines `KEY=value`, quotes and comments; `variables` are put in unless the value stands in single quotes.
 * @throws GantryError invalidArgument that names the line.
 */
export function parseEnvFile(content: string, variables?: Variables): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [index, line] of content
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const match = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(.*)$/.exec(line);
    if (!match || !isPlain(match[1]!)) throw new GantryError(Code.invalidArgument, `line ${index + 1}: must be KEY=value`);
    found[match[1]!] = variables ? unquote(match[2]!, index + 1, { ...variables, ...found }) : match[2]!;
  }
  return found;
}

function unquote(raw: string, line: number, variables: Variables): string {
  const quoted = /^(["'])((?:\\.|(?!\1).)*)\1\s*(?:#.*)?$/.exec(raw);
  if (!quoted && /^["']/.test(raw)) throw new GantryError(Code.invalidArgument, `line ${line}: must close its quote`);
  if (quoted?.[1] === "'") return quoted[2]!;
  const bare = quoted
    ? quoted[2]!.replace(/\\(.)/g, (_, char: string) => ({ n: '\n', t: '\t', r: '\r' })[char] ?? char)
    : raw.replace(/\s+#.*$/, '').trimEnd();
  try {
    return interpolate(bare, variables);
  } catch (error) {
    const { message, details } = GantryError.from(error);
    throw new GantryError(Code.invalidArgument, `line ${line}: ${message}`, { details, cause: error });
  }
}
