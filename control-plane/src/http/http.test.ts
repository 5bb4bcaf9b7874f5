import { silentLogger } from '@gantry/common';
import { afterEach, expect, test } from 'vitest';
import { countBy, createMetrics, processFigures } from './metrics.ts';
import { type Health, type HttpServer, startHttpServer } from './server.ts';

let server: HttpServer | undefined;
afterEach(() => server?.close());

async function start(health: Health, metrics = createMetrics([])): Promise<string> {
  server = await startHttpServer({ host: '127.0.0.1', port: 0, log: silentLogger(), health: async () => health, metrics });
  return `http://127.0.0.1:${server.port}`;
}

test('health is 200 or 503 and names the components', async () => {
  const state: Health = { healthy: true, components: { store: 'ok' } };
  const url = await start(state);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  state.healthy = false;
  const answer = await fetch(`${url}/healthz?verbose`);
  expect(answer.status).toBe(503);
  expect(await answer.json()).toEqual({ healthy: false, components: { store: 'ok' } });
});

test('other paths, names of object properties and other methods are refused', async () => {
  const url = await start({ healthy: true, components: {} });
  expect((await fetch(`${url}/`)).status).toBe(404);
  expect((await fetch(`${url}/constructor`)).status).toBe(404);
  expect((await fetch(`${url}/healthz`, { method: 'POST' })).status).toBe(405);
});

test('metrics are read at each scrape', async () => {
  let served = 1;
  const metrics = createMetrics([
    { name: 'gantry_sessions', help: 'Sessions.', kind: 'gauge', read: () => served },
    { name: 'gantry_calls_total', help: 'Calls.', kind: 'counter', read: () => served * 10 },
    {
      name: 'gantry_nodes',
      help: 'Nodes.',
      kind: 'gauge',
      label: 'state',
      read: () => countBy(['ready', 'ready', 'lost'], (state) => state),
    },
    ...processFigures(),
  ]);
  const url = await start({ healthy: true, components: {} }, metrics);
  await fetch(`${url}/metrics`);
  served = 4;
  const text = await (await fetch(`${url}/metrics`)).text();
  expect(text).toContain('gantry_sessions 4\n');
  expect(text).toContain('gantry_calls_total 40\n');
  expect(text).toContain('gantry_nodes{state="ready"} 2\n');
  expect(text).toMatch(/process_resident_memory_bytes \d+/);
});

test('a figure that fails is answered with 500 and does not end the server', async () => {
  const url = await start({ healthy: true, components: {} }, () => Promise.reject(new Error('broken')));
  expect((await fetch(`${url}/metrics`)).status).toBe(500);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
});
