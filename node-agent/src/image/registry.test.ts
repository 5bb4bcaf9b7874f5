import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Code, systemClock } from '@gantry/common';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isLocalAddress } from './addresses.ts';
import { parseChallenge } from './auth.ts';
import { parseReference } from './reference.ts';
import { createRegistry, type Registry } from './registry.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const servers: Server[] = [];
let handler: Handler;
let seen: string[];
let host: string;
let registry: Registry;

const { signal } = new AbortController();
const document = Buffer.from('{"schemaVersion":2}');
const digest = `sha256:${createHash('sha256').update(document).digest('hex')}`;
const reference = () => parseReference(`${host}/team/web:v1`);

async function listen(handle: Handler): Promise<string> {
  const server = createServer(handle);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as { port: number }).port}`;
}

beforeEach(async () => {
  seen = [];
  handler = (_request, response) => response.end();
  host = await listen((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? '-'}`);
    handler(request, response);
  });
  registry = client();
});

afterEach(async () => {
  await registry.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

function client(options: { password?: string; insecure?: string[] } = {}): Registry {
  const credentials = () => (options.password === undefined ? undefined : { username: 'me', password: options.password });
  const insecureRegistries = options.insecure ?? [host];
  return createRegistry({
    clock: systemClock,
    random: () => 0,
    insecureRegistries,
    credentials,
    idleTimeoutMs: 200,
    connectTimeoutMs: 200,
  });
}

function send(response: ServerResponse, status: number, body: Buffer | string, headers: Record<string, string> = {}): void {
  response.writeHead(status, headers).end(body);
}

async function readAll(body: AsyncIterable<unknown>): Promise<string> {
  let text = '';
  for await (const piece of body) text += String(piece);
  return text;
}

describe('a registry client', () => {
  test('takes the digest from the head of an answer, and from the document where the head has none', async () => {
    handler = (_request, response) => send(response, 200, '', { 'docker-content-digest': digest });
    expect(await registry.resolve(reference(), signal)).toBe(digest);
    expect(seen).toEqual(['HEAD /v2/team/web/manifests/v1 -']);
    handler = (request, response) => send(response, 200, request.method === 'HEAD' ? '' : document);
    expect(await registry.resolve(reference(), signal)).toBe(digest);
  });

  test('gives a verified manifest and its type without parameters', async () => {
    handler = (_request, response) => send(response, 200, document, { 'content-type': 'Application/X; charset=utf-8' });
    const raw = await registry.manifest(reference(), digest, signal);
    expect({ ...raw, bytes: Buffer.from(raw.bytes) }).toEqual({ bytes: document, digest, mediaType: 'application/x' });
  });

  const lies: [string, Handler][] = [
    ['another document', (_request, response) => send(response, 200, '{}')],
    ['a digest of its own', (_request, response) => send(response, 200, document, { 'docker-content-digest': `sha256:${'0'.repeat(64)}` })],
    ['8 MiB', (_request, response) => send(response, 200, Buffer.alloc(8 * 2 ** 20, ' '))],
    ['endless redirects', (request, response) => send(response, 302, '', { location: `${request.url}x` })],
    ['a redirect to a file', (_request, response) => send(response, 302, '', { location: 'file:///etc/passwd' })],
    ['a redirect nowhere', (_request, response) => send(response, 302, '')],
    ['a redirect with a password', (_request, response) => send(response, 302, '', { location: 'https://a:b@example.com/' })],
    ['a redirect to plain http elsewhere', (_request, response) => send(response, 302, '', { location: 'http://example.com/' })],
    ['a redirect to this node', (_request, response) => send(response, 302, '', { location: 'https://127.0.0.1:1/' })],
    ['a redirect to this node by name', (_request, response) => send(response, 302, '', { location: 'https://localhost:1/' })],
    ['a redirect to the link', (_request, response) => send(response, 302, '', { location: 'https://169.254.169.254/latest' })],
    ['a redirect to this node in IPv6', (_request, response) => send(response, 302, '', { location: 'https://[::ffff:127.0.0.1]:1/' })],
  ];
  test.each(lies)('refuses %s', async (_what, handle) => {
    handler = handle;
    await expect(registry.manifest(reference(), digest, signal)).rejects.toMatchObject({ code: Code.failedPrecondition });
  });

  test('does not reach this node through a redirect, even where a port answers', async () => {
    let reached = 0;
    const inner = await listen((_request, response) => {
      reached++;
      response.end(document);
    });
    handler = (_request, response) => send(response, 307, '', { location: `http://${inner}/` });
    await expect(registry.manifest(reference(), digest, signal)).rejects.toMatchObject({ code: Code.failedPrecondition });
    expect(reached).toBe(0);
  });

  test('follows a redirect to another registry that may be anywhere, without the token', async () => {
    const authorizations: string[] = [];
    const inner = await listen((request, response) => {
      authorizations.push(request.headers.authorization ?? '-');
      response.end(document);
    });
    await registry.close();
    registry = client({ password: 'secret', insecure: [host, inner] });
    handler = (request, response) => {
      if (!request.headers.authorization) return send(response, 401, '', { 'www-authenticate': 'Basic realm="x"' });
      return send(response, 307, '', { location: `http://${inner}/` });
    };
    await registry.manifest(reference(), digest, signal);
    expect(authorizations).toEqual(['-']);
  });

  test('gives up a silent registry in time and says so', async () => {
    handler = () => {
      // never answers
    };
    await expect(registry.resolve(reference(), signal)).rejects.toMatchObject({ code: Code.deadlineExceeded });
    expect(seen).toHaveLength(1);
  });

  test('gives up a manifest that stops in the middle', async () => {
    handler = (_request, response) => response.writeHead(200, { 'content-length': '1000' }).write('{');
    await expect(registry.manifest(reference(), digest, signal)).rejects.toMatchObject({ code: Code.deadlineExceeded });
  });

  test('tries again what may pass, and not what will not', async () => {
    handler = (_request, response) => send(response, seen.length < 3 ? 503 : 200, document);
    expect((await registry.manifest(reference(), digest, signal)).digest).toBe(digest);
    for (const [status, code] of [
      [404, Code.notFound],
      [403, Code.permissionDenied],
      [401, Code.unauthenticated],
    ] as const) {
      seen = [];
      handler = (_request, response) => send(response, status, '');
      await expect(registry.manifest(reference(), digest, signal)).rejects.toMatchObject({ code });
      expect(seen).toHaveLength(1);
    }
    seen = [];
    handler = (_request, response) => send(response, 429, '', { 'retry-after': '0.01' });
    await expect(registry.manifest(reference(), digest, signal)).rejects.toMatchObject({ code: Code.resourceExhausted });
    expect(seen).toHaveLength(3);
  });

  test('says that nothing listens', async () => {
    const server = servers.pop()!;
    await new Promise((resolve) => server.close(resolve));
    await expect(registry.resolve(reference(), signal)).rejects.toMatchObject({
      code: Code.unavailable,
      message: expect.stringContaining(host),
    });
  });

  test('ends at once when it is aborted', async () => {
    const controller = new AbortController();
    handler = () => controller.abort();
    await expect(registry.resolve(reference(), controller.signal)).rejects.toMatchObject({ code: Code.cancelled });
  });

  test('asks for the rest of a blob and tells where the answer begins', async () => {
    handler = (request, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      send(response, from > 0 ? 206 : 200, document.subarray(from), from > 0 ? { 'content-range': `bytes ${from}-18/19` } : {});
    };
    const rest = await registry.blob(reference(), digest, 5, signal);
    expect([rest.offset, await readAll(rest.body)]).toEqual([5, document.subarray(5).toString()]);
    handler = (_request, response) => send(response, 200, document);
    const whole = await registry.blob(reference(), digest, 5, signal);
    expect([whole.offset, await readAll(whole.body)]).toEqual([0, document.toString()]);
  });
});

describe('logging in', () => {
  const challenge = (realm: string) => ({ 'www-authenticate': `Bearer realm="${realm}",service="reg",scope="repository:team/web:pull"` });

  test('fetches a token once and uses it again', async () => {
    handler = (request, response) => {
      if (request.url!.startsWith('/token')) return send(response, 200, '{"token":"t1","expires_in":300}');
      if (request.headers.authorization !== 'Bearer t1') return send(response, 401, '', challenge(`http://${host}/token?x=1`));
      return send(response, 200, document);
    };
    await registry.manifest(reference(), digest, signal);
    await registry.manifest(reference(), digest, signal);
    expect(seen.map((line) => line.split(' ').slice(1).join(' '))).toEqual([
      `/v2/team/web/manifests/${digest} -`,
      '/token?x=1&service=reg&scope=repository%3Ateam%2Fweb%3Apull -',
      `/v2/team/web/manifests/${digest} Bearer t1`,
      `/v2/team/web/manifests/${digest} Bearer t1`,
    ]);
  });

  test('shows a password to the token service and to a registry that asks for it', async () => {
    await registry.close();
    registry = client({ password: 'secret' });
    const basic = `Basic ${Buffer.from('me:secret').toString('base64')}`;
    handler = (request, response) => {
      if (request.headers.authorization !== basic) return send(response, 401, '', { 'www-authenticate': 'Basic realm="x"' });
      return send(response, 200, document);
    };
    await registry.manifest(reference(), digest, signal);
    expect(seen.at(-1)).toContain(basic);
  });

  const refused: [string, Handler, Code][] = [
    [
      'a token service that says no',
      (request, response) => send(response, request.url!.startsWith('/token') ? 403 : 401, '', challenge(`http://${host}/token`)),
      Code.unauthenticated,
    ],
    [
      'a token that is refused',
      (request, response) =>
        request.url!.startsWith('/token')
          ? send(response, 200, '{"token":"t"}')
          : send(response, 401, '', challenge(`http://${host}/token`)),
      Code.unauthenticated,
    ],
    [
      'a token that would end a header',
      (request, response) =>
        request.url!.startsWith('/token')
          ? send(response, 200, '{"token":"a\\r\\nX: b"}')
          : send(response, 401, '', challenge(`http://${host}/token`)),
      Code.unavailable,
    ],
    [
      'a token service that is a file',
      (_request, response) => send(response, 401, '', challenge('file:///etc/passwd')),
      Code.failedPrecondition,
    ],
    [
      'a token service on this node',
      (_request, response) => send(response, 401, '', challenge('https://127.0.0.1:1/token')),
      Code.failedPrecondition,
    ],
    ['a token service without an address', (_request, response) => send(response, 401, '', challenge('')), Code.failedPrecondition],
    ['an unknown scheme', (_request, response) => send(response, 401, '', { 'www-authenticate': 'Negotiate' }), Code.unauthenticated],
  ];
  test.each(refused)('fails with %s', async (_what, handle, code) => {
    handler = handle;
    await expect(registry.manifest(reference(), digest, signal)).rejects.toMatchObject({ code });
    expect(seen.length).toBeLessThanOrEqual(6);
  });

  test.each([
    ['Bearer realm="https://a/t",service="s",scope="x y"', { scheme: 'bearer', realm: 'https://a/t', service: 's', scope: 'x y' }],
    ['bearer Realm=https://a, scope=x', { scheme: 'bearer', realm: 'https://a', service: '', scope: 'x' }],
    ['Basic realm="r"', { scheme: 'basic', realm: 'r', service: '', scope: '' }],
    ['Digest x="y"', undefined],
    ['', undefined],
  ])('reads the challenge %j', (header, expected) => {
    expect(parseChallenge(header)).toEqual(expected);
  });
});

test.each([
  ['127.0.0.1', true],
  ['127.9.9.9', true],
  ['0.0.0.0', true],
  ['169.254.169.254', true],
  ['::1', true],
  ['::', true],
  ['::ffff:127.0.0.1', true],
  ['fe80::1', true],
  ['10.0.0.1', false],
  ['192.168.1.1', false],
  ['8.8.8.8', false],
  ['2001:db8::1', false],
  ['example.com', false],
])('%s counts as this node or its link: %s', (address, local) => {
  expect(isLocalAddress(address)).toBe(local);
});
