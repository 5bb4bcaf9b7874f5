import type { Codec } from './codec.ts';

/** How requests and answers flow in a method. */
export type MethodKind = 'unary' | 'serverStream' | 'clientStream' | 'bidi';

// oxlint-disable-next-line typescript/no-explicit-any -- a descriptor of any message type
type AnyCodec = Codec<any>;

/** One method as generated from the proto file. */
export interface MethodDescriptor {
  readonly kind: MethodKind;
  /** "/gantry.v1.Apps/Apply" */
  readonly path: string;
  readonly request: AnyCodec;
  readonly response: AnyCodec;
}

/** One service as generated from the proto file; methods by their name in lower camel case. */
export interface ServiceDescriptor {
  readonly name: string;
  readonly methods: Readonly<Record<string, MethodDescriptor>>;
}

/** The value type that a codec carries. */
export type MessageOf<C> = C extends Codec<infer T> ? T : never;
export type RequestOf<M extends MethodDescriptor> = MessageOf<M['request']>;
export type ResponseOf<M extends MethodDescriptor> = MessageOf<M['response']>;
