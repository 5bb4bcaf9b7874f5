import type { Readable } from 'node:stream';
import { Code, GantryError } from '@gantry/common';
import { Agent, type Dispatcher, request } from 'undici';
import { guardedLookup, isLocalAddress } from './addresses.ts';

export interface TransportOptions {
  /** "host:port" of registries that speak plain http and may lie anywhere. */
  insecureRegistries: readonly string[];
  /** Default 3000. */
  connectTimeoutMs?: number;
  /** Longest wait for an answer, and for each next piece of it. Default 8000. */
  idleTimeoutMs?: number;
}

/** One request; a registry's own address is trusted to be where it is, what it points to is not. */
interface HttpRequest {
  method: 'GET' | 'HEAD';
  url: URL;
  headers: Readonly<Record<string, string>>;
  /** Whether the user named this host; else it must be no local address and speak https. */
  trusted: boolean;
  signal: AbortSignal;
}

export interface HttpResponse {
  status: number;
  header(name: string): string;
  body: Readable;
}

/** HTTP as registries need it: no redirects of its own, bounded waits, kept connections. */
export interface Transport {
  send(request: HttpRequest): Promise<HttpResponse>;
  /** "https" or, for an insecure registry, "http". */
  schemeOf(host: string): 'http' | 'https';
  close(): Promise<void>;
}

export function createTransport(options: TransportOptions): Transport {
  const { connectTimeoutMs = 3000, idleTimeoutMs = 8000 } = options;
  const insecure = new Set(options.insecureRegistries);
  const settings = { headersTimeout: idleTimeoutMs, bodyTimeout: idleTimeoutMs, connections: 8, maxHeaderSize: 32 * 1024 };
  const direct = new Agent({ ...settings, connect: { timeout: connectTimeoutMs } });
  const guarded = new Agent({ ...settings, connect: { timeout: connectTimeoutMs, lookup: guardedLookup } });

  return {
    schemeOf: (host) => (insecure.has(host) ? 'http' : 'https'),
    send: async (call) => {
      const trusted = call.trusted || insecure.has(call.url.host);
      checkTarget(call.url, trusted, insecure.has(call.url.host));
      try {
        return answer(await request(call.url, { ...parts(call), dispatcher: trusted ? direct : guarded }));
      } catch (error) {
        throw transportError(call.url, error);
      }
    },
    close: async () => {
      await Promise.all([direct.destroy(), guarded.destroy()]);
    },
  };
}

function parts({ method, headers, signal }: HttpRequest) {
  return { method, headers: { ...headers, 'user-agent': 'gantry-agent' }, signal };
}

function checkTarget(url: URL, trusted: boolean, insecure: boolean): void {
  const allowed = insecure ? ['http:', 'https:'] : ['https:'];
  if (!allowed.includes(url.protocol) || url.username !== '' || url.password !== '') {
    throw new GantryError(Code.failedPrecondition, `cannot follow a registry to "${show(url)}": must be an https address`);
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (!trusted && (isLocalAddress(host) || host === 'localhost' || host.endsWith('.localhost'))) {
    throw new GantryError(Code.failedPrecondition, `cannot follow a registry to "${show(url)}": must not be this node itself`);
  }
}

function show(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`.slice(0, 200);
}

function answer({ statusCode, headers, body }: Dispatcher.ResponseData): HttpResponse {
  return {
    status: statusCode,
    header: (name) => {
      const value = headers[name];
      return (Array.isArray(value) ? value[0] : value) ?? '';
    },
    body,
  };
}

/** Failures of undici in Gantry's words: a stall is deadlineExceeded, everything else of the network unavailable. */
export function transportError(url: URL, thrown: unknown): GantryError {
  if (thrown instanceof GantryError) return thrown;
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (error.name === 'AbortError') return GantryError.from(error);
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT' || code === 'UND_ERR_CONNECT_TIMEOUT') {
    return new GantryError(Code.deadlineExceeded, `cannot reach registry "${url.host}": it does not answer in time`, { cause: thrown });
  }
  const text = error.message || code || error.name;
  return new GantryError(Code.unavailable, `cannot reach registry "${url.host}": ${text}`, { cause: thrown });
}

/**
 * Reads a whole body.
 * @throws GantryError failedPrecondition above the limit.
 */
export async function readBody(response: HttpResponse, url: URL, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  try {
    for await (const chunk of response.body) {
      total += (chunk as Buffer).length;
      if (total > maxBytes) {
        throw new GantryError(Code.failedPrecondition, `cannot read "${show(url)}": must be at most ${maxBytes} bytes`);
      }
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    throw transportError(url, error);
  }
  return Buffer.concat(chunks);
}

/** Gives a body up; a short one is read, so that the connection can be used again. */
export async function discardBody(response: HttpResponse): Promise<void> {
  let total = 0;
  try {
    for await (const chunk of response.body) {
      total += (chunk as Buffer).length;
      if (total > 64 * 1024) break;
    }
  } catch {
    // the answer is not wanted: how it ends does not matter
  }
}
