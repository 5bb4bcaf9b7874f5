import { Code, GantryError } from '@gantry/common';
import type {
  Metadata,
  MethodDefinition,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  sendUnaryData,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { MethodDescriptor, RequestOf, ResponseOf, ServiceDescriptor } from './service.ts';
import { toStatus } from './status.ts';

/** What a handler knows of its call. */
export interface CallContext<Identity = unknown> {
  readonly path: string;
  /** Aborted when the client cancels, its deadline passes or the connection ends. */
  readonly signal: AbortSignal;
  readonly metadata: Metadata;
  /** Address of the client, "10.0.0.7:53210". */
  readonly peer: string;
  /** The client's certificate in DER, when it showed one. */
  readonly certificate: Buffer | undefined;
  /** Set by `authorize`. */
  readonly identity: Identity;
}

/** A handler by its method's kind. */
type Handler<M extends MethodDescriptor, Identity> = M['kind'] extends 'unary'
  ? (request: RequestOf<M>, context: CallContext<Identity>) => Promise<ResponseOf<M>>
  : M['kind'] extends 'serverStream'
    ? (request: RequestOf<M>, context: CallContext<Identity>) => AsyncIterable<ResponseOf<M>>
    : M['kind'] extends 'clientStream'
      ? (requests: AsyncIterable<RequestOf<M>>, context: CallContext<Identity>) => Promise<ResponseOf<M>>
      : (requests: AsyncIterable<RequestOf<M>>, context: CallContext<Identity>) => AsyncIterable<ResponseOf<M>>;

/** One handler a method. */
export type Handlers<S extends ServiceDescriptor, Identity = unknown> = { [K in keyof S['methods']]: Handler<S['methods'][K], Identity> };

export interface ImplementOptions<Identity> {
  /** Decides who calls and whether they may; throws unauthenticated or permissionDenied. Called before every handler. */
  authorize: (call: Omit<CallContext, 'identity'>) => Identity;
  /** Told of every handler's unexpected failure (code internal or unknown). */
  onFailure: (path: string, error: GantryError) => void;
}

type AnyCall =
  | ServerUnaryCall<object, object>
  | ServerWritableStream<object, object>
  | ServerReadableStream<object, object>
  | ServerDuplexStream<object, object>;
type AnyHandler = (input: unknown, context: CallContext) => Promise<object> | AsyncIterable<object>;

/** What `server.addService` takes. */
export interface ServiceImplementation {
  definition: ServiceDefinition;
  implementation: UntypedServiceImplementation;
}

/** A grpc-js definition of one method with Gantry's codecs. */
export function methodDefinition(method: MethodDescriptor): MethodDefinition<object, object> {
  return {
    path: method.path,
    requestStream: method.kind === 'clientStream' || method.kind === 'bidi',
    responseStream: method.kind === 'serverStream' || method.kind === 'bidi',
    requestSerialize: (value) => Buffer.from(method.request.encode(value)),
    requestDeserialize: (bytes) => method.request.decode(bytes) as object,
    responseSerialize: (value) => Buffer.from(method.response.encode(value)),
    responseDeserialize: (bytes) => method.response.decode(bytes) as object,
  };
}

/** Binds handlers written as promises and async iterables to grpc-js; every throw becomes a status. */
export function implement<S extends ServiceDescriptor, Identity>(
  service: S,
  handlers: Handlers<S, Identity>,
  options: ImplementOptions<Identity>,
): ServiceImplementation {
  const definition: Record<string, MethodDefinition<object, object>> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const [name, method] of Object.entries(service.methods)) {
    definition[name] = methodDefinition(method);
    const handler = handlers[name] as unknown as AnyHandler;
    implementation[name] = adapter(method, handler, options);
  }
  return { definition, implementation };
}

function adapter(method: MethodDescriptor, handler: AnyHandler, options: ImplementOptions<unknown>): UntypedServiceImplementation[string] {
  const report = (thrown: unknown): GantryError => {
    const error = GantryError.from(thrown);
    if (error.code === Code.internal || error.code === Code.unknown) options.onFailure(method.path, error);
    return error;
  };
  if (method.kind === 'unary' || method.kind === 'clientStream') {
    return (call: AnyCall, callback: sendUnaryData<object>) => {
      void answer(method, call, handler, options).then(
        (value) => callback(null, value),
        (error: unknown) => callback(toStatus(report(error))),
      );
    };
  }
  return (call: ServerWritableStream<object, object> | ServerDuplexStream<object, object>) => {
    void pump(method, call, handler, options).then(
      () => call.end(),
      (error: unknown) => call.emit('error', toStatus(report(error))),
    );
  };
}

async function answer(method: MethodDescriptor, call: AnyCall, handler: AnyHandler, options: ImplementOptions<unknown>): Promise<object> {
  const context = contextOf(method, call, options);
  return (await handler(method.kind === 'unary' ? (call as ServerUnaryCall<object, object>).request : call, context)) as object;
}

/** Writes what the handler yields, waiting whenever the transport's buffer is full. */
async function pump(
  method: MethodDescriptor,
  call: ServerWritableStream<object, object> | ServerDuplexStream<object, object>,
  handler: AnyHandler,
  options: ImplementOptions<unknown>,
): Promise<void> {
  const context = contextOf(method, call, options);
  const input = method.kind === 'serverStream' ? (call as ServerWritableStream<object, object>).request : call;
  for await (const message of handler(input, context) as AsyncIterable<object>) {
    if (context.signal.aborted) return;
    if (!call.write(message)) await drained(call, context.signal);
  }
}

function drained(call: NodeJS.EventEmitter, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.once('drain', done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}

function contextOf(method: MethodDescriptor, call: AnyCall, options: ImplementOptions<unknown>): CallContext {
  const ended = new AbortController();
  // a stream that breaks also emits an error; the signal tells the handler, nobody else needs it
  const emitter: NodeJS.EventEmitter = call;
  for (const event of ['error', 'cancelled', 'close']) emitter.on(event, () => ended.abort());
  const context = {
    path: method.path,
    signal: ended.signal,
    metadata: call.metadata,
    peer: call.getPeer(),
    certificate: call.getAuthContext().sslPeerCertificate?.raw,
  };
  return { ...context, identity: options.authorize(context) };
}
