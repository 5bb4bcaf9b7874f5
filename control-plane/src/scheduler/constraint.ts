import { Code, GantryError } from '@gantry/common';

/** What a constraint may look at. */
export interface NodeAttributes {
  readonly name: string;
  readonly hostname: string;
  readonly os: string;
  readonly arch: string;
  readonly labels: Readonly<Record<string, string>>;
}

type Operator = '==' | '!=' | '>' | '<' | '>=' | '<=' | 'in' | 'not-in' | 'exists' | 'not-exists';

/** One condition on a node, as `deploy.placement.constraints` has them. */
export interface Constraint {
  /** As it was written, for people. */
  readonly text: string;
  readonly attribute: string;
  readonly operator: Operator;
  readonly values: readonly string[];
  /** Looks at what differs from node to node even among nodes of one class: their names. */
  readonly perNode: boolean;
}

const symbolic = /^\s*([^\s=!<>]+)\s*(==|!=|>=|<=|>|<)\s*(.*?)\s*$/;
const worded = /^\s*(\S+)\s+(not-in|in|not-exists|exists)(?:\s+(.*?))?\s*$/;
const names = new Set(['node.name', 'node.id', 'node.hostname']);
const known = new Set([...names, 'node.os', 'node.arch', 'node.platform.os', 'node.platform.arch']);
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
  const match = symbolic.exec(text) ?? worded.exec(text);
  if (!match) return refuse(text, 'must be attribute, operator, value, found no operator of == != > < >= <= in not-in exists not-exists');
  const attribute = match[1]!;
  const operator = match[2]! as Operator;
  const rest = match[3] ?? '';
  if (!known.has(attribute) && !(attribute.startsWith(labelPrefix) && attribute.length > labelPrefix.length)) {
    refuse(text, `the attribute must be node.labels.<key>, node.name, node.hostname, node.os or node.arch, found "${attribute}"`);
  }
  const valueless = operator === 'exists' || operator === 'not-exists';
  const values = operator === 'in' || operator === 'not-in' ? list(rest) : valueless ? [] : [rest.replace(/^(["'])(.*)\1$/, '$2')];
  if (valueless && rest !== '') refuse(text, `${operator} takes no value, found "${rest}"`);
  if (!valueless && (values.length === 0 || values[0] === '')) refuse(text, `${operator} needs a value, found none`);
  return { text: text.trim().replace(/\s+/g, ' '), attribute, operator, values, perNode: names.has(attribute) };
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
    default: {
      const key = attribute.slice(labelPrefix.length);
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
