import { newId } from '@gantry/common';
import {
  ApplyRequest,
  AppSpec,
  ContainerSpec,
  ContainerState,
  ContainersService,
  DeleteAppRequest,
  Resources,
  ServiceSpec,
  WatchContainersRequest,
} from '@gantry/proto';
import { TestCluster } from '../cluster/harness.ts';
import { type Bench, percentile, round } from './bench.ts';

const runs = 50;

/** A spec as a program would submit it: one service that sleeps. */
export function sleeperApp(registry: string, name: string, replicas: number): AppSpec {
  const container = ContainerSpec.create({
    image: `${registry}/gantry/busybox:1`,
    command: ['sleep', '86400'],
    init: true,
    stopGraceUs: 1_000_000,
  });
  const reservation = Resources.create({ cpuMillis: 10, memoryBytes: 4 << 20 });
  return AppSpec.create({
    namespace: 'default',
    name,
    services: [ServiceSpec.create({ name: 'sleeper', replicas, container, reservation })],
  });
}

export const startLatency: Bench = {
  name: 'start-latency',
  about: 'one container: gRPC submit until a watcher sees it running, image present, 50 times',
  async run(log) {
    const world = await TestCluster.start();
    try {
      const samples: number[] = [];
      for (let index = -5; index < runs; index++) {
        const ms = await once(world, `latency${index + 5}`);
        if (index >= 0) samples.push(ms); // the first five pull the image and warm the caches
      }
      log(`${runs} starts: min ${round(Math.min(...samples))} ms, max ${round(Math.max(...samples))} ms`);
      const left = (await world.containers()).length;
      return {
        parameters: { runs, nodes: 3 },
        figures: { p50_ms: round(percentile(samples, 0.5)), p99_ms: round(percentile(samples, 0.99)), min_ms: round(Math.min(...samples)) },
        oracle: { checked: true, violations: left },
      };
    } finally {
      await world.stop();
    }
  },
};

async function once(world: TestCluster, name: string): Promise<number> {
  const watch = world
    .client(ContainersService)
    .watch(WatchContainersRequest.create({ namespace: 'default', app: name }), { deadlineMs: 30_000 });
  const events = watch[Symbol.asyncIterator]();
  for (;;) {
    const { value } = await events.next();
    if (value?.synced) break;
  }
  const begin = performance.now();
  const applied = world.apps.apply(ApplyRequest.create({ requestId: newId(), app: sleeperApp(world.cluster.registry, name, 1) }));
  for (;;) {
    const { value, done } = await events.next();
    if (done) throw new Error('the watch ended');
    if (value.container?.state === ContainerState.running) break;
  }
  const ms = performance.now() - begin;
  await applied;
  await events.return?.(undefined);
  await world.apps.delete(DeleteAppRequest.create({ requestId: newId(), namespace: 'default', app: name }));
  await world.until('it is gone', (all) => all.length === 0, 30_000, { namespace: 'default', app: name });
  return ms;
}
