import { waitUntil } from '@gantry/deploy';
import type { Container } from '@gantry/proto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestCluster } from './harness.ts';

let world: TestCluster;

beforeAll(async () => {
  world = await TestCluster.start({ nodes: 2 });
});
afterAll(() => world?.stop());

const megabyte = 1_000_000;
const written = 64 * 1024 * 1024;
const sent = 50 * megabyte;

/** A sink whose own input never ends, and a worker that burns half a core (by its limit), holds 48 MiB in a tmpfs, writes 64 MiB past the page cache, sends 50 MB. */
const manifest = () => `name: use
services:
  sink:
    image: ${world.cluster.registry}/gantry/busybox:1
    command: ["sh", "-c", "mkfifo /in; while true; do nc -l -p 9000 <>/in >/dev/null; done"]
    init: true
    stop_grace_period: 1s
  worker:
    image: ${world.cluster.registry}/gantry/busybox:1
    command:
      - sh
      - -c
      - |
        dd if=/dev/zero of=/hold/block bs=1M count=48 2>/dev/null
        dd if=/dev/zero of=/data/file bs=1M count=64 oflag=direct 2>/dev/null
        until head -c ${sent} /dev/zero | nc sink 9000; do :; done
        while true; do :; done
    init: true
    stop_grace_period: 1s
    tmpfs: ["/hold:size=64m"]
    volumes: ["data:/data"]
    depends_on: [sink]
    deploy:
      resources:
        limits: { cpus: "0.5", memory: 256M }
volumes:
  data: {}
`;

const within = (actual: number, wanted: number, share: number) => {
  expect(actual).toBeGreaterThanOrEqual(wanted * (1 - share));
  expect(actual).toBeLessThanOrEqual(wanted * (1 + share));
};

/** Asks again and again until one of the containers answers the check. */
async function poll(what: string, ask: () => Promise<Container[]>, check: (one: Container) => boolean, timeoutMs: number): Promise<void> {
  const seen = await waitUntil(async () => (await ask()).some(check), timeoutMs);
  expect(seen, what).toBe(true);
}

test('top and ps show what a container does in all four dimensions, within 10 %', async () => {
  await world.apply(manifest());
  // usage is no event of a container: it is asked for until a whole window has been reported
  const worker = () => world.running({ app: 'use', service: 'worker' });
  const sentAll = (one: Container) => (one.usage?.networkTransmitTotalBytes ?? 0) >= sent;
  await poll('the worker has done its work', worker, sentAll, 60_000);
  await poll('the worker only burns', worker, (one) => sentAll(one) && Math.abs((one.usage?.cpuMillis ?? 0) - 500) < 45, 60_000);

  const listing = await world.cli(['ps', '-o', 'json', 'use/worker']);
  const { containers } = JSON.parse(listing.stdout) as { containers: { usage: Record<string, number> }[] };
  const usage = containers[0]!.usage;
  within(usage.cpuMillis!, 500, 0.1);
  within(usage.memoryBytes!, 48 * 1024 * 1024, 0.1);
  within(usage.ioWriteTotalBytes!, written, 0.1);
  within(usage.networkTransmitTotalBytes!, sent, 0.1);

  const top = await world.cli(['top', 'containers']);
  expect(top.status, top.stderr).toBe(0);
  expect(top.stdout).toMatch(/use\/worker\.1.*4[5-9]\dm|use\/worker\.1.*5[0-4]\dm|use\/worker\.1.*500m/);
}, 180_000);
