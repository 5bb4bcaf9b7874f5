/** A manifest as plain values that know their place: aliases followed, merge keys merged, variables put in. */
export type Value = ScalarValue | ListValue | MappingValue;

interface ScalarValue {
  readonly kind: 'scalar';
  /** Offset in the text. */
  readonly at: number;
  /** "services.web.image" */
  readonly path: string;
  /** As it was written, after variables; undefined is YAML's null. */
  readonly text: string | undefined;
}

interface ListValue {
  readonly kind: 'list';
  readonly at: number;
  readonly path: string;
  readonly items: readonly Value[];
}

export interface Entry {
  readonly key: string;
  /** Offset of the key. */
  readonly at: number;
  readonly value: Value;
}

export interface MappingValue {
  readonly kind: 'mapping';
  readonly at: number;
  readonly path: string;
  readonly entries: ReadonlyMap<string, Entry>;
}

/** What a message shows of a value. */
export function show(value: Value): string {
  if (value.kind === 'list') return 'a list';
  if (value.kind === 'mapping') return 'a mapping';
  if (value.text === undefined) return 'nothing';
  return JSON.stringify(value.text.length > 60 ? `${value.text.slice(0, 57)}...` : value.text);
}
