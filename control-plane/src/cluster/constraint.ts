import { Code, GantryError } from '@gantry/common';
import { type Pattern, parsePattern } from './pattern.ts';

/** What a constraint may look at. */
export interface NodeAttributes {
  readonly name: string;
  readonly hostname: string;
  readonly os: string;
  readonly arch: string;
  /** Release of the kernel, "6.18.5"; empty when it is not known. */
  readonly kernel?: string;
  readonly labels: Readonly<Record<string, string>>;
}

type Operator = '==' | '!=' | '>' | '<' | '>=' | '<=' | 'in' | 'not-in' | 'exists' | 'not-exists' | 'version' | 'regex';

/** One bound of a version: ">= 6.1". */
interface Bound {
  readonly operator: '==' | '!=' | '>' | '<' | '>=' | '<=' | '~>';
  readonly version: string;
}

/** One condition on a node, as `deploy.placement.constraints` has them. */
export interface Constraint {
  /** As it was written, for people. */
  readonly text: string;
  readonly attribute: string;
  readonly operator: Operator;
  readonly values: readonly string[];
  /** Looks at what differs from node to node even among nodes of one class: their names. */
  readonly perNode: boolean;
  /** Of `regex`. */
  readonly pattern?: Pattern;
  /** Of `version`: all must hold. */
  readonly bounds?: readonly Bound[];
}

const symbolic = /^\s*([^\s=!<>]+)\s*(==|!=|>=|<=|>|<)\s*(.*?)\s*$/;
const worded = /^\s*(\S+)\s+(not-in|in|not-exists|exists|version|regex)(?:\s+(.*?))?\s*$/;
const names = new Set(['node.name', 'node.id', 'node.hostname']);
const known = new Set([
  ...names,
  'node.os',
  'node.arch',
  'node.platform.os',
  'node.platform.arch',
  'node.kernel',
  'node.zone',
  'node.region',
]);
/** Built-ins that are labels of a fixed name. */
const labelled: ReadonlyMap<string, string> = new Map([
  ['node.zone', 'zone'],
  ['node.region', 'region'],
]);
const archAttributes = new Set(['node.arch', 'node.platform.arch']);
const labelPrefix = 'node.labels.';

function refuse(text: string, must: string): never {
  throw new GantryError(Code.invalidArgument, `cannot read constraint "${text}": ${must}`, {
    details: { hint: 'write for example "node.labels.disk == ssd" or "node.arch in amd64,arm64"' },
  });
}

function list(text: string): string[] {
  return text
    .replace(/^[([]|[)\]]$/g, '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/**
 * Reads "node.labels.disk == ssd".
 * @throws GantryError invalidArgument when attribute or operator are not known, or a value is missing.
 */
export function parseConstraint(text: string): Constraint {
  // words first: the value of regex and version may hold the signs of the others
  const match = worded.exec(text) ?? symbolic.exec(text);
  if (!match) {
    const operators = '== != > < >= <= in not-in exists not-exists version regex';
    return refuse(text, `must be attribute, operator, value, found no operator of ${operators}`);
  }
  const attribute = match[1]!;
  const operator = match[2]! as Operator;
  const rest = match[3] ?? '';
  if (!isAttribute(attribute)) {
    const built = 'node.name, node.hostname, node.os, node.arch, node.kernel, node.zone or node.region';
    refuse(text, `the attribute must be node.labels.<key>, ${built}, found "${attribute}"`);
  }
  const valueless = operator === 'exists' || operator === 'not-exists';
  const values = operator === 'in' || operator === 'not-in' ? list(rest) : valueless ? [] : [rest.replace(/^(["'])(.*)\1$/, '$2')];
  if (valueless && rest !== '') refuse(text, `${operator} takes no value, found "${rest}"`);
  if (!valueless && (values.length === 0 || values[0] === '')) refuse(text, `${operator} needs a value, found none`);
  const written = text.trim();
  // Blanks count within a pattern, and nowhere else.
  const shown = operator === 'regex' ? written : written.replace(/\s+/g, ' ');
  const constraint: Constraint = { text: shown, attribute, operator, values, perNode: names.has(attribute) };
  if (operator === 'regex') return { ...constraint, pattern: readPattern(text, values[0]!) };
  return operator === 'version' ? { ...constraint, bounds: readBounds(text, values[0]!) } : constraint;
}

/** Whether a word names something of nodes: a built-in or a label. */
export function isAttribute(word: string): boolean {
  return known.has(word) || (word.startsWith(labelPrefix) && word.length > labelPrefix.length);
}

function readPattern(text: string, source: string): Pattern {
  try {
    return parsePattern(source);
  } catch (error) {
    return refuse(text, GantryError.from(error).message.replace(/^(?!.*found)(.*)$/, `$1, found "${source.slice(0, 40)}"`));
  }
}

function readBounds(text: string, value: string): Bound[] {
  return value.split(',').map((part) => {
    const match = /^\s*(==|=|!=|>=|<=|~>|>|<)?\s*v?(\d+(?:\.\d+)*(?:[-+][\w.+-]*)?)\s*$/.exec(part);
    if (!match) return refuse(text, `a version must be bounds like ">= 6.1, < 7", found "${part.trim()}"`);
    const operator = match[1] === undefined || match[1] === '=' ? '==' : (match[1] as Bound['operator']);
    return { operator, version: match[2]! };
  });
}

const archNames: Readonly<Record<string, string>> = { x86_64: 'amd64', x64: 'amd64', aarch64: 'arm64' };

/** One name an architecture, whoever names it: x86_64 and x64 are amd64, aarch64 is arm64. */
function normalArch(arch: string): string {
  return archNames[arch] ?? arch;
}

/** The value of a node's attribute; undefined when it has none. */
export function attributeOf(node: NodeAttributes, attribute: string): string | undefined {
  switch (attribute) {
    case 'node.name':
    case 'node.id':
      return node.name;
    case 'node.hostname':
      return node.hostname;
    case 'node.os':
    case 'node.platform.os':
      return node.os;
    case 'node.arch':
    case 'node.platform.arch':
      return normalArch(node.arch);
    case 'node.kernel':
      return node.kernel || undefined;
    default: {
      const key = labelled.get(attribute) ?? attribute.slice(labelPrefix.length);
      return Object.hasOwn(node.labels, key) ? node.labels[key] : undefined;
    }
  }
}

/** Orders "9" before "10" and "6.9.2" before "6.18": number by number, text by text. */
function compare(left: string, right: string): number {
  const a = left.split(/[.-]/);
  const b = right.split(/[.-]/);
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const x = a[index] ?? '0';
    const y = b[index] ?? '0';
    const difference = Number(x) - Number(y);
    if (Number.isNaN(difference) ? x !== y : difference !== 0) return Number.isNaN(difference) ? (x < y ? -1 : 1) : difference;
  }
  return 0;
}

/** Order of two versions: number by number; what has a suffix after "-" comes before what has none; "+..." says nothing. */
function compareVersions(left: string, right: string): number {
  const [a, b] = [left, right].map((version) => /^([\d.]+)(?:-([^+]*))?/.exec(version)) as [RegExpExecArray, RegExpExecArray];
  const order = compare(a[1]!, b[1]!);
  if (order !== 0 || a[2] === b[2]) return order;
  if (a[2] === undefined || b[2] === undefined) return a[2] === undefined ? 1 : -1;
  return compare(a[2], b[2]);
}

function isWithin(value: string, { operator, version }: Bound): boolean {
  const found = /^\s*v?(\d[\w.+-]*)/.exec(value)?.[1];
  if (found === undefined) return false;
  const order = compareVersions(found, version);
  switch (operator) {
    case '==':
      return order === 0;
    case '!=':
      return order !== 0;
    case '>':
      return order > 0;
    case '<':
      return order < 0;
    case '>=':
      return order >= 0;
    case '<=':
      return order <= 0;
    case '~>': {
      // At least it, and the same in all numbers but the last one that is written.
      const fixed = version.split(/[-+]/)[0]!.split('.').slice(0, -1);
      const numbers = found.split(/[-+]/)[0]!.split('.');
      return order >= 0 && fixed.every((number, index) => Number(numbers[index] ?? 0) === Number(number));
    }
  }
}

/** Whether a node meets the constraint. A node without the attribute meets only `!=`, `not-in` and `not-exists`. */
export function satisfies(constraint: Constraint, node: NodeAttributes): boolean {
  const value = attributeOf(node, constraint.attribute);
  const wanted = archAttributes.has(constraint.attribute) ? constraint.values.map(normalArch) : constraint.values;
  switch (constraint.operator) {
    case 'exists':
      return value !== undefined;
    case 'not-exists':
      return value === undefined;
    case '==':
    case 'in':
      return value !== undefined && wanted.includes(value);
    case '!=':
    case 'not-in':
      return value === undefined || !wanted.includes(value);
    case 'regex':
      return value !== undefined && constraint.pattern!.matches(value);
    case 'version':
      return value !== undefined && constraint.bounds!.every((bound) => isWithin(value, bound));
    case '>':
      return value !== undefined && compare(value, wanted[0]!) > 0;
    case '<':
      return value !== undefined && compare(value, wanted[0]!) < 0;
    case '>=':
      return value !== undefined && compare(value, wanted[0]!) >= 0;
    case '<=':
      return value !== undefined && compare(value, wanted[0]!) <= 0;
  }
}
