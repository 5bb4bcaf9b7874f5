import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { newId, sleep, systemClock } from '@gantry/common';
import { ApplyRequest } from '@gantry/proto';
import { exactly, TestCluster } from '../cluster/harness.ts';
import { type Bench, cpuMs, median, pssKb, round } from './bench.ts';
import { sleeperApp } from './start-latency.ts';

const replicas = 100;
const settleMs = 20_000;
const measureMs = 60_000;

/** Pids of the cluster's own daemons and of all monitors. */
function pids(world: TestCluster): { controlPlane: number; agents: number[]; monitors: number[] } {
  const monitors = globSync(join(world.cluster.folder, 'n*/**/monitor.pid')).map((path) =>
    Number(readFileSync(path, 'utf8').split(/\s/)[0]),
  );
  const agents = [1, 2, 3].map((node) => world.cluster.process(`agent-n${node}`).pid);
  return { controlPlane: world.cluster.process('control-plane-0').pid, agents, monitors };
}

export const idleCost: Bench = {
  name: 'idle-cost',
  about: 'memory and CPU of control plane, agents and monitors with 100 idle containers',
  async run(log) {
    const world = await TestCluster.start();
    try {
      await world.apps.apply(ApplyRequest.create({ requestId: newId(), app: sleeperApp(world.cluster.registry, 'idle', replicas) }));
      await world.until('all run', exactly(replicas), 120_000);
      log(`settling for ${settleMs / 1000} s, measuring for ${measureMs / 1000} s`);
      await sleep(systemClock, settleMs);
      const { controlPlane, agents, monitors } = pids(world);
      const all = [controlPlane, ...agents, ...monitors];
      const before = all.map(cpuMs);
      await sleep(systemClock, measureMs);
      const used = all.map((pid, index) => cpuMs(pid) - before[index]!);
      const share = (ms: number) => round((100 * ms) / measureMs);
      const sum = used.reduce((total, ms) => total + ms, 0);
      return {
        parameters: { replicas, nodes: 3, measureMs },
        figures: {
          control_plane_mb: round(pssKb(controlPlane) / 1024, 1),
          agent_mb: round(median(agents.map(pssKb)) / 1024, 1),
          monitor_kb: round(monitors.map(pssKb).reduce((total, kb) => total + kb, 0) / monitors.length, 1),
          cpu_percent: share(sum),
          control_plane_cpu_percent: share(used[0]!),
          agents_cpu_percent: share(used[1]! + used[2]! + used[3]!),
        },
        oracle: { checked: true, violations: monitors.length === replicas ? 0 : 1 },
      };
    } finally {
      await world.stop();
    }
  },
};
