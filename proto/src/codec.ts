/** What one generated static class of protobufjs offers. */
interface StaticType {
  encode(message: object): { finish(): Uint8Array };
  decode(bytes: Uint8Array): object;
  toObject(message: object, options: object): object;
  fromObject(value: object): object;
}

/** The generated package; its members are looked up by the generated code only. */
// oxlint-disable-next-line typescript/no-explicit-any -- nested types are namespaces and classes at once
export type StaticNamespace = Record<string, any>;

/** Encodes and decodes one message type; values are plain objects with every field present. */
export interface Codec<T extends object> {
  /** Full name, "gantry.v1.Service". */
  readonly typeName: string;
  /** A value with every field at its default, but those given. */
  create(init?: Partial<T>): T;
  encode(value: T): Uint8Array;
  /** @throws RangeError when the bytes are not a message of this type. */
  decode(bytes: Uint8Array): T;
  /** The protobuf JSON mapping: enum names, base64 bytes, numbers for 64-bit integers. */
  toJson(value: T): Record<string, unknown>;
  /** @throws TypeError when a field has the wrong type. */
  fromJson(value: object): T;
}

const plain = { defaults: true, longs: Number };
const json = { defaults: true, longs: Number, enums: String, bytes: String };

/** Wraps a generated class; used by the generated code. */
export function codec<T extends object>(typeName: string, type: StaticType, zero: () => object): Codec<T> {
  return {
    typeName,
    create: (init) => ({ ...zero(), ...init }) as T,
    encode: (value) => type.encode(value).finish(),
    decode: (bytes) => type.toObject(type.decode(bytes), plain) as T,
    toJson: (value) => type.toObject(value, json) as Record<string, unknown>,
    fromJson: (value) => type.toObject(type.fromObject(value), plain) as T,
  };
}
