import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { createConnector } from './connector.ts';

const connector = createConnector();
const servers: Server[] = [];
const sockets: Socket[] = [];
const never = new AbortController().signal;

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

async function serve(onConnection: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as { port: number }).port;
}

async function closedPort(): Promise<number> {
  const port = await serve(() => {});
  await new Promise((resolve) => servers.pop()!.close(resolve));
  return port;
}

describe('a tcp probe', () => {
  test('succeeds once the port accepts', async () => {
    await connector.tcp('127.0.0.1', await serve(() => {}), never);
  });

  test('fails with the reason where nothing listens', async () => {
    await expect(connector.tcp('127.0.0.1', await closedPort(), never)).rejects.toThrow(/ECONNREFUSED/);
  });
});

describe('an http probe', () => {
  const answers = (text: string) => serve((socket) => socket.once('data', () => socket.end(text)));

  test.each(['200 OK', '204 No Content', '301 Moved', '399 x'])('succeeds on status %s', async (status) => {
    await connector.http('127.0.0.1', await answers(`HTTP/1.1 ${status}\r\n\r\n`), '/', never);
  });

  test.each([
    ['HTTP/1.1 500 Oops\r\n\r\n', /status 500/],
    ['HTTP/1.1 400 Bad\r\n\r\n', /status 400/],
    ['SSH-2.0-x\r\n', /not HTTP/],
    ['x'.repeat(5000), /not HTTP/],
    ['', /closed without an answer/],
  ])('fails on %j', async (text, reason) => {
    await expect(connector.http('127.0.0.1', await answers(text), '/', never)).rejects.toThrow(reason);
  });

  test('asks for its path in one request line, whatever the path contains', async () => {
    let request = '';
    const port = await serve((socket) =>
      socket.once('data', (data) => {
        request = data.toString();
        socket.end('HTTP/1.0 200\r\n\r\n');
      }),
    );
    await connector.http('127.0.0.1', port, 'up?a=b c\r\nX-Bad: 1', never);
    expect(request.split('\r\n')[0]).toBe('GET /up?a=b%20c%0d%0aX-Bad:%201 HTTP/1.1');
    expect(request).not.toMatch(/^X-Bad/m);
  });

  test('is given up when its signal aborts', async () => {
    const accepted = Promise.withResolvers<void>();
    const port = await serve(() => accepted.resolve());
    const controller = new AbortController();
    const probe = connector.http('127.0.0.1', port, '/', controller.signal);
    await accepted.promise;
    controller.abort(new Error('too late'));
    await expect(probe).rejects.toThrow('too late');
  });

  test('is not held up by an answer that goes on for ever', async () => {
    const port = await serve((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        const pour = () => {
          while (socket.writable && socket.write(Buffer.alloc(16_384))) {
            // until the socket is full
          }
        };
        socket.on('drain', pour);
        pour();
      });
    });
    await connector.http('127.0.0.1', port, '/', never);
    for (const socket of sockets) if (!socket.destroyed) await new Promise((resolve) => socket.once('close', resolve));
  });
});
