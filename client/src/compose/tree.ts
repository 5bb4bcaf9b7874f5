/** A manifest as plain values that know their place: aliases followed, merge keys merged, variables put in. */
export type Value = ScalarValue | ListValue | MappingValue;

interface Placed {
  /** Offset in the text. */
  readonly at: number;
  /** Offset of the key that it stands under, if it does. */
  readonly keyAt?: number;
  /** "services.web.image" */
  readonly path: string;
}

interface ScalarValue extends Placed {
  readonly kind: 'scalar';
  /** As it was written, after variables; undefined is YAML's null. */
  readonly text: string | undefined;
}

interface ListValue extends Placed {
  readonly kind: 'list';
  readonly items: readonly Value[];
}

export interface Entry {
  readonly key: string;
  /** Offset of the key. */
  readonly at: number;
  readonly value: Value;
}

export interface MappingValue extends Placed {
  readonly kind: 'mapping';
  readonly entries: ReadonlyMap<string, Entry>;
}

/** What a message shows of a value. */
export function show(value: Value): string {
  if (value.kind === 'list') return 'a list';
  if (value.kind === 'mapping') return 'a mapping';
  if (value.text === undefined) return 'nothing';
  return JSON.stringify(value.text.length > 60 ? `${value.text.slice(0, 57)}...` : value.text);
}
