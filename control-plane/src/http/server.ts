import { createServer, type Server, type ServerResponse } from 'node:http';
import { GantryError, type Logger } from '@gantry/common';

/** What /healthz says; it answers 200 when `healthy`, else 503. */
export interface Health {
  healthy: boolean;
  /** One line a component. */
  components: Readonly<Record<string, string>>;
}

export interface HttpOptions {
  host: string;
  port: number;
  log: Logger;
  health: () => Promise<Health>;
  /** The metrics in Prometheus' text form. */
  metrics: () => Promise<{ contentType: string; body: string }>;
}

/** A small HTTP server for probes and scrapers. */
export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Starts it. @throws when the address cannot be bound. */
export async function startHttpServer({ host, port, log, health, metrics }: HttpOptions): Promise<HttpServer> {
  const routes: Readonly<Record<string, (response: ServerResponse) => Promise<void>>> = {
    '/healthz': async (response) => {
      const state = await health();
      send(response, state.healthy ? 200 : 503, 'application/json', `${JSON.stringify(state)}\n`);
    },
    '/metrics': async (response) => {
      const { contentType, body } = await metrics();
      send(response, 200, contentType, body);
    },
  };
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5000, maxHeaderSize: 8192 }, (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0]!;
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    request.resume();
    if (!route) return send(response, 404, 'text/plain', 'not found: see /healthz and /metrics\n');
    if (request.method !== 'GET' && request.method !== 'HEAD') return send(response, 405, 'text/plain', 'only GET is served\n');
    route(response).catch((error: unknown) => {
      log.error({ path, err: GantryError.from(error).message }, 'cannot answer an HTTP request');
      if (!response.headersSent) send(response, 500, 'text/plain', 'internal error\n');
    });
  });
  server.maxConnections = 100;
  await listen(server, host, port);
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound ? bound.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function send(response: ServerResponse, status: number, contentType: string, body: string): void {
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
