import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { backoffMs, type Clock, Code, GantryError, sleep } from '@gantry/common';
import { type Authenticator, type Credentials, createAuthenticator } from './auth.ts';
import { isDigest } from './digest.ts';
import { acceptedManifests, type RawManifest, refusal } from './manifest.ts';
import { formatReference, type Reference } from './reference.ts';
import { createTransport, discardBody, type HttpResponse, readBody, type Transport, type TransportOptions } from './transport.ts';

/** A blob, or its rest from an offset on. */
export interface BlobStream {
  body: Readable;
  /** Where the body begins: what was asked for, or 0 when the registry sends the whole. */
  offset: number;
  url: URL;
}

/** The read side of OCI distribution. All calls throw GantryErrors. */
export interface Registry {
  /** Digest that a reference's tag has now. */
  resolve(reference: Reference, signal: AbortSignal): Promise<string>;
  /** The document of a digest, verified. */
  manifest(reference: Reference, digest: string, signal: AbortSignal): Promise<RawManifest>;
  /** A blob, not yet verified. */
  blob(reference: Reference, digest: string, offset: number, signal: AbortSignal): Promise<BlobStream>;
  close(): Promise<void>;
}

export interface RegistryOptions extends TransportOptions {
  clock: Clock;
  /** 0..1, spreads retries. */
  random: () => number;
  /** Of a registry's host; default none. */
  credentials?: (registry: string) => Credentials | undefined;
}

const maxManifestBytes = 4 * 1024 * 1024;
const maxRedirects = 5;
const maxAttempts = 3;

export function createRegistry(options: RegistryOptions): Registry {
  const { clock, credentials = () => undefined } = options;
  const transport = createTransport(options);
  const client = new RegistryClient(transport, createAuthenticator({ transport, clock, credentials }), options);
  return {
    resolve: (reference, signal) => client.resolve(reference, signal),
    manifest: (reference, digest, signal) => client.manifest(reference, digest, signal),
    blob: (reference, digest, offset, signal) => client.blob(reference, digest, offset, signal),
    close: () => transport.close(),
  };
}

interface Call {
  reference: Reference;
  method: 'GET' | 'HEAD';
  /** Below /v2/<repository>/. */
  path: string;
  headers: Readonly<Record<string, string>>;
  signal: AbortSignal;
}

interface Answer {
  response: HttpResponse;
  url: URL;
}

class RegistryClient {
  readonly #transport: Transport;
  readonly #auth: Authenticator;
  readonly #clock: Clock;
  readonly #random: () => number;

  constructor(transport: Transport, auth: Authenticator, { clock, random }: RegistryOptions) {
    this.#transport = transport;
    this.#auth = auth;
    this.#clock = clock;
    this.#random = random;
  }

  async resolve(reference: Reference, signal: AbortSignal): Promise<string> {
    if (reference.digest !== '') return reference.digest;
    const call: Call = { reference, method: 'HEAD', path: `manifests/${reference.tag}`, headers: { accept: acceptedManifests }, signal };
    const head = await this.#retried(call, async ({ response }) => {
      await discardBody(response);
      return response.header('docker-content-digest');
    });
    if (isDigest(head)) return head;
    const raw = await this.#retried({ ...call, method: 'GET' }, (answer) => this.#document(reference, answer));
    return raw.digest;
  }

  async manifest(reference: Reference, digest: string, signal: AbortSignal): Promise<RawManifest> {
    const call: Call = { reference, method: 'GET', path: `manifests/${digest}`, headers: { accept: acceptedManifests }, signal };
    const raw = await this.#retried(call, (answer) => this.#document(reference, answer));
    if (raw.digest !== digest) throw refusal(formatReference(reference), `its manifest must have digest ${digest}, found ${raw.digest}`);
    return raw;
  }

  async #document(reference: Reference, { response, url }: Answer): Promise<RawManifest> {
    const bytes = await readBody(response, url, maxManifestBytes);
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const claimed = response.header('docker-content-digest');
    if (isDigest(claimed) && claimed !== digest) {
      throw refusal(formatReference(reference), `its manifest must be what the registry says, ${claimed}, found ${digest}`);
    }
    const mediaType = response.header('content-type').split(';')[0]!.trim().toLowerCase();
    return { bytes, digest, mediaType };
  }

  async blob(reference: Reference, digest: string, offset: number, signal: AbortSignal): Promise<BlobStream> {
    const headers = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const { response, url } = await this.#send({ reference, method: 'GET', path: `blobs/${digest}`, headers, signal });
    const starts = /^bytes (\d+)-/.exec(response.header('content-range'))?.[1];
    return { body: response.body, url, offset: response.status === 206 ? Number(starts ?? Number.NaN) : 0 };
  }

  /** Sends until an answer can be read; what was refused, and what stalled, is not tried again. */
  async #retried<T>(call: Call, read: (answer: Answer) => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await read(await this.#send(call));
      } catch (thrown) {
        const error = GantryError.from(thrown);
        if (!error.retryable || attempt + 1 >= maxAttempts) throw error;
        const delayMs = error.details.retryAfterMs ?? backoffMs(attempt, this.#random(), { minMs: 100, maxMs: 2000 });
        await sleep(this.#clock, Math.min(delayMs, 2000), call.signal);
      }
    }
  }

  /** One request with its log-in and redirects. The answer is 2xx; its body must be read or given up. */
  async #send(call: Call): Promise<Answer> {
    const { registry, repository } = call.reference;
    const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
    const url = new URL(`${this.#transport.schemeOf(registry)}://${host}/v2/${repository}/${call.path}`);
    const scope = `repository:${repository}:pull`;
    for (let attempt = 0; ; attempt++) {
      const authorization = this.#auth.header(registry, scope);
      const answer = await this.#follow(call, url, authorization);
      const { status } = answer.response;
      if (status >= 200 && status < 300) return answer;
      await discardBody(answer.response);
      const again = status === 401 && attempt === 0 && (await this.#auth.answer(registry, scope, answer.response, call.signal));
      if (!again) throw statusError(call, answer.response);
    }
  }

  async #follow(call: Call, first: URL, authorization: string): Promise<Answer> {
    const { method, headers, signal } = call;
    let url = first;
    for (let redirects = 0; ; redirects++) {
      // The token is for the registry alone: it does not go where a redirect leads.
      const own = url.host === first.host && url.protocol === first.protocol;
      const sent = own && authorization !== '' ? { ...headers, authorization } : headers;
      const response = await this.#transport.send({ method, url, headers: sent, trusted: own, signal });
      if (![301, 302, 303, 307, 308].includes(response.status)) return { response, url };
      await discardBody(response);
      const next = URL.parse(response.header('location'), url.href);
      if (!next || redirects >= maxRedirects) {
        throw refusal(formatReference(call.reference), `its registry must lead to it in at most ${maxRedirects} redirects`);
      }
      url = next;
    }
  }
}

function statusError(call: Call, response: HttpResponse): GantryError {
  const subject = formatReference(call.reference);
  const { status } = response;
  const message = (text: string) => `cannot pull image "${subject}": ${text}`;
  switch (status) {
    case 401:
      return new GantryError(Code.unauthenticated, message('it does not exist or its registry wants a log-in'));
    case 403:
      return new GantryError(Code.permissionDenied, message('its registry forbids it'));
    case 404:
      return new GantryError(Code.notFound, message('its registry does not have it'), { details: { hint: 'check name and tag' } });
    case 429: {
      const seconds = Number(response.header('retry-after'));
      const details = Number.isFinite(seconds) && seconds > 0 ? { retryAfterMs: seconds * 1000 } : {};
      return new GantryError(Code.resourceExhausted, message('its registry wants fewer requests'), { details, retryable: true });
    }
    default: {
      const code = status >= 500 ? Code.unavailable : Code.failedPrecondition;
      return new GantryError(code, message(`its registry answers ${status}`));
    }
  }
}
