/**
 * Runs a HostNetwork in a Linux network namespace of its own for the tests: one JSON call a line on
 * standard input, one JSON result a line on standard output.
 */
import { createInterface } from 'node:readline';
import { GantryError, silentLogger, systemClock } from '@gantry/common';
import { EndpointMap, Peer } from '@gantry/proto';
import { HostNetwork } from './host-network.ts';
import type { ContainerNetwork, NodeNetwork, RateLimit } from './network.ts';

interface Call {
  method: string;
  args: unknown[];
}

const [netd = '', bridge = '', resolvConf = ''] = process.argv.slice(2);
const network = new HostNetwork({ netd, bridge, resolvConf, table: 'gantry-test', clock: systemClock, log: silentLogger() });

const methods: Record<string, (args: unknown[]) => unknown> = {
  start: ([node]) => network.start(node as NodeNetwork),
  prepare: ([container]) => network.prepare(container as ContainerNetwork),
  adopt: ([container]) => network.adopt(container as ContainerNetwork),
  limit: ([id, limit, pid]) => network.limit(id as string, limit as RateLimit, pid as number),
  release: ([id]) => network.release(id as string),
  setPeers: ([peers]) => network.setPeers((peers as Partial<Peer>[]).map((peer) => Peer.create(peer))),
  setEndpoints: ([map]) => network.setEndpoints(EndpointMap.create(map as Partial<EndpointMap>)),
  stats: async () => Object.fromEntries(await network.stats()),
  close: () => network.close(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { method, args } = JSON.parse(line) as Call;
  try {
    const value = await methods[method]?.(args);
    console.log(JSON.stringify({ ok: true, value }));
  } catch (error) {
    const { code, message } = GantryError.from(error);
    console.log(JSON.stringify({ ok: false, code, message }));
  }
}
await network.close();
