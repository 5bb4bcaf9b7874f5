import { Code, GantryError } from '@gantry/common';
import { type CallOptions, InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import { Etcd3, type IOptions } from 'etcd3';

export interface EtcdConnectOptions {
  /** "127.0.0.1:2379", one or more members. */
  hosts: readonly string[];
  /** PEM texts; without them the connection is in plain text. */
  tls?: { ca: string; certificate: string; key: string };
  /** Longest wait for the answer of a unary call; default 5000. */
  deadlineMs?: number;
}

/** A member without a quorum must refuse, not keep silent: watches and calls ask for a leader. */
const requireLeader: Interceptor = (options, nextCall) =>
  new InterceptingCall(nextCall(options), {
    start: (metadata, listener, next) => {
      metadata.set('hasleader', 'true');
      next(metadata, listener);
    },
  });

type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>;

/** Calls through, once: repeating a write whose answer was lost is for the one who knows what it meant. */
const once = {
  execute: async (run: (context: { signal: AbortSignal }) => unknown, signal: AbortSignal = new AbortController().signal) =>
    run({ signal }),
} as unknown as Policy;

/** The etcd client with everything switched off that loses, repeats or blocks calls. Only its raw clients may be used. */
export function connectEtcd(options: EtcdConnectOptions): Etcd3 {
  const { hosts, tls, deadlineMs = 5000 } = options;
  const scheme = tls ? 'https://' : 'http://';
  return new Etcd3({
    hosts: hosts.map((host) => scheme + host),
    ...(tls && {
      credentials: { rootCertificate: Buffer.from(tls.ca), certChain: Buffer.from(tls.certificate), privateKey: Buffer.from(tls.key) },
    }),
    faultHandling: { global: once, host: () => once },
    grpcOptions: {
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      // etcd answers pings faster than every 5 s, or without calls, with GOAWAY
      'grpc.keepalive_time_ms': 6000,
      'grpc.keepalive_timeout_ms': 3000,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
      'grpc.enable_channelz': 0,
    },
    defaultCallOptions: ({ isStream }): CallOptions => ({
      interceptors: [requireLeader],
      ...(isStream ? {} : { deadline: Date.now() + deadlineMs }),
    }),
  });
}

/** The gRPC code behind what the client threw; etcd3 keeps it only in the text. */
export function etcdCode(thrown: unknown): Code | undefined {
  if (!(thrown instanceof Error)) return undefined;
  if ('code' in thrown && typeof thrown.code === 'number') return thrown.code as Code;
  if (thrown.message.includes('requested lease not found')) return Code.notFound;
  const match = /(?:^|\s)(\d+) [A-Z_]+: /.exec(thrown.message);
  return match ? (Number(match[1]) as Code) : undefined;
}

/** A read or write at a revision that etcd has compacted away, or that it has not reached. */
export function isCompacted(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.message.includes('required revision has been compacted');
}

/**
 * A failed call as a GantryError.
 * @param writes whether the call may have written: then the outcome is not known when no clear refusal came back.
 */
export function etcdError(thrown: unknown, act: string, writes: boolean): GantryError {
  if (thrown instanceof GantryError) return thrown;
  const text = thrown instanceof Error ? thrown.message.replace(/^\w*Error: /, '') : String(thrown);
  const make = (code: Code, message: string, hint?: string) =>
    new GantryError(code, `cannot ${act}: ${message}`, { cause: thrown, ...(hint === undefined ? {} : { details: { hint } }) });
  switch (etcdCode(thrown)) {
    case Code.invalidArgument:
      return make(Code.invalidArgument, `etcd refused it, ${text}`);
    case Code.notFound:
      return make(Code.notFound, 'its lease has ended');
    case Code.resourceExhausted:
      return make(Code.resourceExhausted, `etcd is full or busy, ${text}`, 'see etcd alarms: compact, defragment, raise its quota');
    case Code.failedPrecondition:
    case Code.outOfRange:
      return make(Code.failedPrecondition, text);
    case Code.permissionDenied:
    case Code.unauthenticated:
      return make(Code.failedPrecondition, `etcd does not admit the control plane, ${text}`);
    default: {
      const outcome =
        writes && !/no leader|No connection established/.test(text) ? 'whether it was written is not known' : 'nothing was changed';
      return make(Code.unavailable, `etcd does not answer (${outcome}), ${text}`);
    }
  }
}
