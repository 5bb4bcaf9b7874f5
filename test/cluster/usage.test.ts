import { existsSync, readFileSync } from 'node:fs';
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

/** CPU time of a cgroup as the kernel counts it, in microseconds. */
function kernelCpuUs(group: string): number {
  const v1 = `/sys/fs/cgroup/cpuacct${group}/cpuacct.usage`;
  if (existsSync(v1)) return Number(readFileSync(v1, 'utf8')) / 1000;
  return Number(/^usage_usec (\d+)/m.exec(readFileSync(`/sys/fs/cgroup${group}/cpu.stat`, 'utf8'))?.[1]);
}

test('top and ps show what a container does in all four dimensions, within 10 %', async () => {
  await world.apply(manifest());
  // usage is no event of a container: it is asked for until a whole window has been reported
  const worker = () => world.running({ app: 'use', service: 'worker' });
  const sentAll = (one: Container) => (one.usage?.networkTransmitTotalBytes ?? 0) >= sent;
  await poll('the worker has done its work', worker, sentAll, 60_000);
  const listing = await world.cli(['ps', '-o', 'json', 'use/worker']);
  const { containers } = JSON.parse(listing.stdout) as { containers: { id: string; node: string; usage: Record<string, number> }[] };
  const { id, node, usage } = containers[0]!;
  within(usage.memoryBytes!, 48 * 1024 * 1024, 0.1);
  within(usage.ioWriteTotalBytes!, written, 0.1);
  within(usage.networkTransmitTotalBytes!, sent, 0.1);
  // by now it only burns: what was reported, carried on at the reported rate until now, is what the kernel counts
  const carried = usage.cpuTotalUs! + (usage.cpuMillis! / 1000) * (Date.now() * 1000 - usage.at!);
  within(carried, kernelCpuUs(`${world.cluster.cgroupParent(Number(node.slice(1)))}/${id}`), 0.1);

  const top = await world.cli(['top', 'containers']);
  expect(top.status, top.stderr).toBe(0);
  expect(top.stdout).toMatch(/use\/worker\.1 .* \d+m .*Mi/);
}, 180_000);
