import { type Clock, Code, GantryError } from '@gantry/common';
import { type HttpResponse, readBody, type Transport } from './transport.ts';

export interface Credentials {
  username: string;
  password: string;
}

/** What a registry asks for when it answers 401. */
export interface Challenge {
  scheme: 'bearer' | 'basic';
  realm: string;
  service: string;
  scope: string;
}

/** Reads a WWW-Authenticate header; undefined for a scheme that is not known. */
export function parseChallenge(header: string): Challenge | undefined {
  const match = /^\s*(bearer|basic)\s+(.*)$/i.exec(header);
  if (!match) return undefined;
  const fields = new Map<string, string>();
  for (const [, key, quoted, bare] of match[2]!.matchAll(/([a-z_]+)=(?:"([^"]*)"|([^",\s]+))/gi)) {
    fields.set(key!.toLowerCase(), quoted ?? bare ?? '');
  }
  const field = (key: string) => fields.get(key) ?? '';
  const scheme = match[1]!.toLowerCase() === 'basic' ? 'basic' : 'bearer';
  return { scheme, realm: field('realm'), service: field('service'), scope: field('scope') };
}

export interface AuthenticatorOptions {
  transport: Transport;
  clock: Clock;
  /** Of a registry's host, undefined for anonymous use. */
  credentials: (registry: string) => Credentials | undefined;
}

/** Gets and keeps what registries want to see in `authorization`. */
export interface Authenticator {
  /** The header for a scope as known so far; empty for none. */
  header(registry: string, scope: string): string;
  /** Answers a 401; false when there is nothing better than what was sent. */
  answer(registry: string, scope: string, response: HttpResponse, signal: AbortSignal): Promise<boolean>;
}

const maxTokens = 256;
const maxTokenBytes = 256 * 1024;

interface Token {
  header: string;
  /** By the monotonic clock. */
  untilMs: number;
}

export function createAuthenticator({ transport, clock, credentials }: AuthenticatorOptions): Authenticator {
  const tokens = new Map<string, Token>();

  const keep = (key: string, token: Token) => {
    tokens.delete(key);
    const oldest = tokens.keys().next().value;
    if (tokens.size >= maxTokens && oldest !== undefined) tokens.delete(oldest);
    tokens.set(key, token);
  };

  return {
    header: (registry, scope) => {
      const token = tokens.get(`${registry} ${scope}`);
      return token && token.untilMs > clock.monotonicMs() ? token.header : '';
    },
    answer: async (registry, scope, response, signal) => {
      const challenge = parseChallenge(response.header('www-authenticate'));
      const known = credentials(registry);
      const basic = known ? `Basic ${Buffer.from(`${known.username}:${known.password}`).toString('base64')}` : '';
      if (challenge === undefined || (challenge.scheme === 'basic' && basic === '')) return false;
      const key = `${registry} ${scope}`;
      if (challenge.scheme === 'basic') {
        if (tokens.get(key)?.header === basic) return false;
        keep(key, { header: basic, untilMs: Number.POSITIVE_INFINITY });
        return true;
      }
      const token = await fetchToken({ transport, registry, challenge, scope, basic, signal });
      keep(key, { header: `Bearer ${token.text}`, untilMs: clock.monotonicMs() + token.validMs });
      return true;
    },
  };
}

interface TokenRequest {
  transport: Transport;
  registry: string;
  challenge: Challenge;
  scope: string;
  basic: string;
  signal: AbortSignal;
}

async function fetchToken(wanted: TokenRequest): Promise<{ text: string; validMs: number }> {
  const { transport, registry, challenge, basic, signal } = wanted;
  const url = URL.parse(challenge.realm);
  if (!url) throw new GantryError(Code.failedPrecondition, `cannot log in to "${registry}": its token service must have an address`);
  if (challenge.service !== '') url.searchParams.set('service', challenge.service);
  url.searchParams.set('scope', challenge.scope || wanted.scope);
  const headers = basic === '' ? {} : { authorization: basic };
  const response = await transport.send({ method: 'GET', url, headers, trusted: url.host === registry, signal });
  const body = await readBody(response, url, maxTokenBytes);
  if (response.status !== 200) {
    const code = response.status >= 500 || response.status === 429 ? Code.unavailable : Code.unauthenticated;
    throw new GantryError(code, `cannot log in to "${registry}": its token service answers ${response.status}`);
  }
  return readToken(registry, body);
}

function readToken(registry: string, body: Buffer): { text: string; validMs: number } {
  let fields: { token?: unknown; access_token?: unknown; expires_in?: unknown };
  try {
    fields = (JSON.parse(body.toString('utf8')) as typeof fields | null) ?? {};
  } catch (error) {
    throw new GantryError(Code.unavailable, `cannot log in to "${registry}": its token service must answer JSON`, { cause: error });
  }
  const text = fields.token ?? fields.access_token;
  if (typeof text !== 'string' || !/^[\x21-\x7e]+$/.test(text)) {
    throw new GantryError(Code.unavailable, `cannot log in to "${registry}": its token service must answer a token`);
  }
  const seconds = typeof fields.expires_in === 'number' && fields.expires_in > 0 ? fields.expires_in : 60;
  return { text, validMs: Math.max(5, Math.min(seconds, 3600) - 10) * 1000 };
}
