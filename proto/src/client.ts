import { Code, GantryError } from '@gantry/common';
import {
  type CallOptions,
  Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientWritableStream,
  credentials,
  Metadata,
} from '@grpc/grpc-js';
import { methodDefinition } from './server.ts';
import type { MethodDescriptor, RequestOf, ResponseOf, ServiceDescriptor } from './service.ts';
import { fromStatus } from './status.ts';

/** Certificates as PEM texts. */
export interface TlsFiles {
  ca: string;
  certificate?: string;
  key?: string;
}

export interface ConnectOptions {
  /** "127.0.0.1:7400" */
  address: string;
  /** Without it the connection is in plain text (tests only). */
  tls?: TlsFiles;
  /** Name expected in the server's certificate; default "gantry-control-plane". */
  serverName?: string;
  /** Milliseconds between pings of an idle connection; default 10000. */
  keepaliveMs?: number;
  keepaliveTimeoutMs?: number;
}

/** A connection to a server; clients of several services share it. */
export interface Connection {
  readonly address: string;
  readonly client: Client;
  close(): void;
}

/** Prepares a connection (it dials at the first call). */
export function connect(options: ConnectOptions): Connection {
  const { address, tls, serverName = 'gantry-control-plane', keepaliveMs = 10_000, keepaliveTimeoutMs = 5000 } = options;
  const channelCredentials = tls
    ? credentials.createSsl(
        Buffer.from(tls.ca),
        tls.key === undefined ? null : Buffer.from(tls.key),
        tls.certificate === undefined ? null : Buffer.from(tls.certificate),
      )
    : credentials.createInsecure();
  const channelOptions: ClientOptions = {
    'grpc.keepalive_time_ms': keepaliveMs,
    'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 2000,
    'grpc.enable_channelz': 0,
    'grpc.max_receive_message_length': 16 * 1024 * 1024,
    ...(tls ? { 'grpc.ssl_target_name_override': serverName, 'grpc.default_authority': serverName } : {}),
  };
  const client = new Client(address, channelCredentials, channelOptions);
  return { address, client, close: () => client.close() };
}

export interface CallSettings {
  signal?: AbortSignal;
  /** Unary calls default to 10000; streams have none. */
  deadlineMs?: number;
  /** Header fields of the call. */
  headers?: Readonly<Record<string, string>>;
}

/** A method as its caller sees it. */
type Method<M extends MethodDescriptor> = M['kind'] extends 'unary'
  ? (request: RequestOf<M>, settings?: CallSettings) => Promise<ResponseOf<M>>
  : M['kind'] extends 'serverStream'
    ? (request: RequestOf<M>, settings?: CallSettings) => AsyncIterable<ResponseOf<M>>
    : M['kind'] extends 'clientStream'
      ? (requests: AsyncIterable<RequestOf<M>>, settings?: CallSettings) => Promise<ResponseOf<M>>
      : (requests: AsyncIterable<RequestOf<M>>, settings?: CallSettings) => AsyncIterable<ResponseOf<M>>;

export type ClientOf<S extends ServiceDescriptor> = { [K in keyof S['methods']]: Method<S['methods'][K]> };

/** A typed client of one service; every failure is a GantryError. */
export function createClient<S extends ServiceDescriptor>(service: S, connection: Connection): ClientOf<S> {
  const methods = Object.entries(service.methods).map(([name, method]) => [name, bind(method, connection.client)] as const);
  return Object.fromEntries(methods) as unknown as ClientOf<S>;
}

function bind(method: MethodDescriptor, client: Client): unknown {
  const definition = methodDefinition(method);
  const { path, requestSerialize: serialize, responseDeserialize: deserialize } = definition;
  const prepare = (settings: CallSettings, defaultMs: number | undefined): [Metadata, CallOptions] => {
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(settings.headers ?? {})) metadata.set(key, value);
    const deadlineMs = settings.deadlineMs ?? defaultMs;
    return [metadata, deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs }];
  };
  switch (method.kind) {
    case 'unary':
      return (request: object, settings: CallSettings = {}) =>
        single(settings, (done) => client.makeUnaryRequest(path, serialize, deserialize, request, ...prepare(settings, 10_000), done));
    case 'clientStream':
      return (requests: AsyncIterable<object>, settings: CallSettings = {}) =>
        single(settings, (done) => {
          const call = client.makeClientStreamRequest(path, serialize, deserialize, ...prepare(settings, undefined), done);
          void send(call, requests);
          return call;
        });
    case 'serverStream':
      return (request: object, settings: CallSettings = {}) =>
        stream(settings, () => client.makeServerStreamRequest(path, serialize, deserialize, request, ...prepare(settings, undefined)));
    case 'bidi':
      return (requests: AsyncIterable<object>, settings: CallSettings = {}) =>
        stream(settings, () => {
          const call = client.makeBidiStreamRequest(path, serialize, deserialize, ...prepare(settings, undefined));
          void send(call, requests);
          return call;
        });
  }
}

type Done = (error: unknown, value?: object) => void;

function single(settings: CallSettings, start: (done: Done) => { cancel(): void }): Promise<object> {
  return new Promise((resolve, reject) => {
    if (settings.signal?.aborted) return reject(GantryError.from(settings.signal.reason, Code.cancelled));
    const onAbort = () => call.cancel();
    const call = start((error, value) => {
      settings.signal?.removeEventListener('abort', onAbort);
      if (error) reject(fromStatus(error));
      else resolve(value!);
    });
    settings.signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** Sends what the iterable yields, at the pace of the transport. A source that throws cancels the call. */
async function send(
  call: ClientWritableStream<object> | ClientDuplexStream<object, object>,
  requests: AsyncIterable<object>,
): Promise<void> {
  const ended = new AbortController();
  call.on('error', () => ended.abort());
  call.on('close', () => ended.abort());
  call.on('status', () => ended.abort());
  try {
    for await (const request of requests) {
      if (ended.signal.aborted) return;
      if (!call.write(request)) await writable(call, ended.signal);
    }
    call.end();
  } catch {
    // the reader of the answers sees the cancellation
    call.cancel();
  }
}

function writable(call: NodeJS.EventEmitter, signal: AbortSignal): Promise<void> {
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

/** The answers; leaving the loop early cancels the call. The call starts when the iteration does. */
async function* stream(
  settings: CallSettings,
  start: () => ClientReadableStream<object> | ClientDuplexStream<object, object>,
): AsyncGenerator<object, void, void> {
  if (settings.signal?.aborted) throw GantryError.from(settings.signal.reason, Code.cancelled);
  const call = start();
  const onAbort = () => call.cancel();
  settings.signal?.addEventListener('abort', onAbort, { once: true });
  try {
    for await (const message of call) yield message as object;
  } catch (error) {
    throw fromStatus(error);
  } finally {
    settings.signal?.removeEventListener('abort', onAbort);
    call.on('error', () => {
      // cancelled below: nobody reads any more
    });
    call.cancel();
  }
}
