import { GantryError } from '@gantry/common';
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type LineCounter,
  type Node,
  parseDocument,
  type Scalar,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import { interpolate, type Variables } from './interpolate.ts';
import type { Problems } from './problems.ts';
import type { Entry, Value } from './tree.ts';

/** Most values that a manifest may come to once aliases are followed. */
const mostValues = 100_000;
const deepest = 64;

const tabHint = 'indent with spaces';

/** Reads YAML into a tree of values with places; undefined when the text is not YAML (the problems say why). */
export function parseTree(text: string, variables: Variables, problems: Problems, lineCounter: LineCounter): Value | undefined {
  const document = parseDocument(text, { lineCounter, prettyErrors: false, uniqueKeys: false, logLevel: 'error', version: '1.2' });
  // one mistake makes many errors behind it: only the first says something
  const fault = document.errors[0] ?? document.warnings[0];
  if (fault) return refuseSyntax(fault, document.errors, problems);
  return new TreeBuilder(variables, problems).build(document);
}

function refuseSyntax({ code, message, pos }: YAMLError, all: readonly YAMLError[], problems: Problems): undefined {
  if (all.some((error) => error.code === 'RESOURCE_EXHAUSTION')) {
    return problems.refuse(0, `cannot read manifest: must be nested at most ${deepest} deep, found more`);
  }
  if (code === 'MULTIPLE_DOCS') return problems.refuse(pos[0], 'cannot read manifest: must be one YAML document, found another one here');
  return problems.refuse(pos[0], `cannot read manifest: must be YAML: ${message}`, code === 'TAB_AS_INDENT' ? tabHint : undefined);
}

/** Follows a document in its order, which is what gives aliases their meaning. */
class TreeBuilder {
  readonly #variables: Variables;
  readonly #problems: Problems;
  readonly #anchors = new Map<string, Node>();
  /** Nodes under way: an alias to one of them would never end. */
  readonly #open = new Set<Node>();
  #values = 0;
  #inAlias = 0;
  #full = false;

  constructor(variables: Variables, problems: Problems) {
    this.#variables = variables;
    this.#problems = problems;
  }

  build(document: Document.Parsed): Value {
    return this.#value(document.contents, '', 0);
  }

  #value(node: Node | null, path: string, fallbackAt: number, depth = 0): Value {
    const at = node?.range?.[0] ?? fallbackAt;
    const nothing: Value = { kind: 'scalar', at, path, text: undefined };
    if (!node || this.#full) return nothing;
    if (++this.#values > mostValues || depth > deepest) {
      this.#full = true;
      const most = depth > deepest ? `nested at most ${deepest} deep` : `at most ${mostValues} values, aliases followed`;
      this.#problems.refuse(at, `cannot read manifest: must be ${most}`);
      return nothing;
    }
    if (isAlias(node)) return this.#alias(node.source, path, at, depth);
    const anchor = 'anchor' in node ? node.anchor : undefined;
    if (anchor !== undefined && this.#inAlias === 0) this.#anchors.set(anchor, node);
    if (isScalar(node)) return { kind: 'scalar', at, path, text: this.#text(node, path, at) };
    this.#open.add(node);
    try {
      if (isMap(node)) return { kind: 'mapping', at, path, entries: this.#entries(node, path, depth) };
      if (!isSeq(node)) return nothing;
      const items = node.items.map((item, index) => this.#value(item as Node | null, `${path}[${index}]`, at, depth + 1));
      return { kind: 'list', at, path, items };
    } finally {
      this.#open.delete(node);
    }
  }

  #alias(name: string, path: string, at: number, depth: number): Value {
    const nothing: Value = { kind: 'scalar', at, path, text: undefined };
    const target = this.#anchors.get(name);
    if (!target) {
      this.#problems.refuse(at, `cannot read alias "*${name}": must name an anchor above it`);
      return nothing;
    }
    if (this.#open.has(target)) {
      this.#problems.refuse(at, `cannot read alias "*${name}": must not stand inside its own anchor`);
      return nothing;
    }
    this.#inAlias++;
    try {
      return this.#value(target, path, at, depth + 1);
    } finally {
      this.#inAlias--;
    }
  }

  #text(node: Scalar, path: string, at: number): string | undefined {
    if (node.value === null && (node.type === 'PLAIN' || node.type === undefined)) return undefined;
    const written = writtenAs(node);
    const fault = textFault(written);
    if (fault !== undefined) {
      this.#problems.refuse(at, `cannot read "${path}": must be text without ${fault}`);
      return '';
    }
    try {
      return interpolate(written, this.#variables);
    } catch (error) {
      const { message, details } = GantryError.from(error);
      this.#problems.refuse(at, message, details.hint);
      return '';
    }
  }

  #entries(node: YAMLMap, path: string, depth: number): Map<string, Entry> {
    const own = new Map<string, Entry>();
    const merged = new Map<string, Entry>();
    for (const pair of node.items) {
      const keyNode = pair.key as Node | null;
      const at = keyNode?.range?.[0] ?? node.range?.[0] ?? 0;
      const key = this.#key(keyNode, at);
      if (key === undefined) continue;
      const inner = path === '' ? key : `${path}.${key}`;
      if (key === '<<') {
        this.#merge(this.#value(pair.value as Node | null, path, at, depth + 1), merged);
      } else if (own.has(key)) {
        this.#problems.refuse(at, `cannot read "${inner}": a key must stand once in its mapping, found it again`);
      } else {
        own.set(key, { key, at, value: this.#value(pair.value as Node | null, inner, at, depth + 1) });
      }
    }
    for (const [key, entry] of merged) if (!own.has(key)) own.set(key, entry);
    return own;
  }

  #key(node: Node | null, at: number): string | undefined {
    if (!isScalar(node) || node.value === null) return this.#problems.refuse(at, 'cannot read key: must be a word');
    if (node.anchor !== undefined && this.#inAlias === 0) this.#anchors.set(node.anchor, node);
    const key = writtenAs(node);
    const fault = textFault(key);
    return fault === undefined ? key : this.#problems.refuse(at, `cannot read key: must be a word without ${fault}`);
  }

  /** What `<<` brings in: the first of several wins, and the mapping's own keys win over all. */
  #merge(value: Value, into: Map<string, Entry>): void {
    if (value.kind === 'mapping') {
      for (const [key, entry] of value.entries) if (!into.has(key)) into.set(key, entry);
    } else if (value.kind === 'list' && value.items.every((item) => item.kind === 'mapping')) {
      for (const item of value.items) this.#merge(item, into);
    } else {
      this.#problems.refuse(value.at, 'cannot read merge key "<<": must be a mapping or a list of mappings');
    }
  }
}

/** What was written, not what YAML makes of it: "1.10" stays "1.10". */
function writtenAs({ type, source, value }: Scalar): string {
  return type === 'PLAIN' && source !== undefined ? source : typeof value === 'string' ? value : JSON.stringify(value);
}

function textFault(text: string): string | undefined {
  if (text.includes('\0')) return 'NUL bytes';
  return text.isWellFormed() ? undefined : 'broken characters';
}
