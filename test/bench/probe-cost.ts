import { type ChildProcess, spawn } from 'node:child_process';
import { sleep, systemClock } from '@gantry/common';
import { createConnector, createProber } from '@gantry/node-agent';
import { ContainerHealth, Probe, ProbeType } from '@gantry/proto';
import { type Bench, median, round } from './bench.ts';

const containers = 500;
const runs = 3;
const runMs = 5000;

/** A server in a process of its own, so that its work is not counted; it prints its port. */
const serverCode =
  "const s = require('node:http').createServer((q, a) => a.end('ok')).listen(0, '127.0.0.1', () => console.log(s.address().port));";

async function portOf(server: ChildProcess): Promise<number> {
  return await new Promise((resolve, reject) => {
    server.stdout?.once('data', (data: Buffer) => resolve(Number(data.toString())));
    server.once('exit', () => reject(new Error('the server ended')));
  });
}

export const probeCost: Bench = {
  name: 'probe-cost',
  about: '500 containers probed over HTTP each second: CPU of the agent in percent of a core',
  async run(log) {
    const server = spawn(process.execPath, ['-e', serverCode], { stdio: ['ignore', 'pipe', 'inherit'] });
    const prober = createProber({ clock: systemClock, connector: createConnector(), random: Math.random });
    const ids = Array.from({ length: containers }, (_, index) => `c${index}`);
    const healthy = () => ids.filter((id) => prober.condition(id)?.health === ContainerHealth.healthy).length;
    try {
      const port = await portOf(server);
      const health = Probe.create({ type: ProbeType.http, port, path: '/', intervalUs: 1_000_000, timeoutUs: 1_000_000, retries: 3 });
      const target = { address: '127.0.0.1', exec: async () => 1 };
      for (const id of ids) prober.watch(id, { health, readiness: null }, target);
      await sleep(systemClock, 3000);
      const shares: number[] = [];
      for (let run = 0; run < runs; run++) {
        const before = process.cpuUsage();
        await sleep(systemClock, runMs);
        const { user, system } = process.cpuUsage(before);
        shares.push((user + system) / runMs / 10);
        log(`run ${run + 1}: ${round(shares.at(-1)!)} % of a core, ${healthy()} of ${containers} healthy`);
      }
      return {
        parameters: { containers, runs, runMs },
        figures: {
          cpu_percent: round(median(shares)),
          cpu_percent_min: round(Math.min(...shares)),
          cpu_percent_max: round(Math.max(...shares)),
        },
        oracle: { checked: true, violations: containers - healthy() },
      };
    } finally {
      prober.close();
      server.kill('SIGKILL');
    }
  },
};
