import { newId } from '@gantry/common';
import { ApplyRequest, DeleteAppRequest } from '@gantry/proto';
import { exactly, TestCluster } from '../cluster/harness.ts';
import { type Bench, median, round } from './bench.ts';
import { sleeperApp } from './start-latency.ts';

const rounds = 3;
const replicas = 100;

export const replicas100: Bench = {
  name: 'replicas-100',
  about: '100 replicas on three nodes: until all run, and until all are gone',
  async run(log) {
    const world = await TestCluster.start();
    try {
      const started: number[] = [];
      const removed: number[] = [];
      let violations = 0;
      for (let index = -1; index < rounds; index++) {
        const app = sleeperApp(world.cluster.registry, `hundred${index + 1}`, replicas);
        const begin = performance.now();
        await world.apps.apply(ApplyRequest.create({ requestId: newId(), app }));
        const all = await world.until('all run', exactly(replicas), 120_000, { namespace: 'default', app: app.name });
        const running = performance.now();
        if (new Set(all.map((one) => one.slot)).size !== replicas) violations++;
        await world.apps.delete(DeleteAppRequest.create({ requestId: newId(), namespace: 'default', app: app.name }));
        await world.until('all are gone', (rest) => rest.length === 0, 120_000, { namespace: 'default', app: app.name });
        const gone = performance.now();
        if (index < 0) continue; // the first round pulls the image
        started.push((running - begin) / 1000);
        removed.push((gone - running) / 1000);
        log(`all running after ${round(started.at(-1)!)} s, gone after ${round(removed.at(-1)!)} s`);
      }
      return {
        parameters: { rounds, replicas, nodes: 3 },
        figures: {
          all_running_s: round(median(started)),
          all_running_min_s: round(Math.min(...started)),
          remove_s: round(median(removed)),
          remove_min_s: round(Math.min(...removed)),
        },
        oracle: { checked: true, violations },
      };
    } finally {
      await world.stop();
    }
  },
};
