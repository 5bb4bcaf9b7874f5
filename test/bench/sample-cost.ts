import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { sleep, systemClock } from '@gantry/common';
import { createSampler, findCgroupMounts } from '@gantry/node-agent';
import { Report, Usage } from '@gantry/proto';
import { type Bench, median, round } from './bench.ts';

const containers = 100;
const samples = 40;
const runs = 3;

/** What a report of busy containers weighs: every field has a value, ids are as long as real ones. */
function bytesOfBusyReport(at: number): number {
  const fields = Object.keys(Usage.create()).map((field) => [
    field,
    /Total/.test(field) ? 123_456_789_012 : /Bytes/.test(field) ? 123_456_789 : 500,
  ]);
  const usage = Usage.create({ ...Object.fromEntries(fields), at });
  const ids = Array.from({ length: containers }, (_, index) => String(index).padStart(12, 'a'));
  return Report.encode(Report.create({ at, ids, usages: ids.map(() => usage) })).length;
}

/** Makes a group with its children in every hierarchy; the returned function removes them all. */
function makeGroups(roots: readonly string[], name: string): () => void {
  const folders = roots.flatMap((root) => [
    join(root, name),
    ...Array.from({ length: containers }, (_, index) => join(root, name, `c${index}`)),
  ]);
  const made: string[] = [];
  const remove = () => {
    for (const folder of made.splice(0).reverse()) rmdirSync(folder);
  };
  try {
    for (const folder of folders) {
      mkdirSync(folder);
      made.push(folder);
    }
  } catch (error) {
    remove();
    throw error;
  }
  return remove;
}

export const sampleCost: Bench = {
  name: 'sample-cost',
  about: 'CPU time of one sample of one container, and the size of its part of a report',
  async run(log) {
    const mounts = findCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'));
    const roots = [...new Set([...mounts.v1.values(), mounts.unified])].filter((root) => root !== '');
    const group = `gantry-bench-${process.pid}`;
    const removeGroups = makeGroups(roots, group);
    const sampler = createSampler({ mounts, nodeCgroup: `/${group}`, clock: systemClock });
    try {
      const source = { hostInterface: 'lo', pid: process.pid };
      for (let index = 0; index < containers; index++) sampler.track(`c${index}`, { cgroupPath: `/${group}/c${index}`, ...source });
      sampler.sampleAll(systemClock.nowUs());
      const costs: number[] = [];
      for (let run = 0; run < runs; run++) {
        let usedUs = 0;
        for (let sample = 0; sample < samples; sample++) {
          const before = process.cpuUsage();
          sampler.sampleAll(systemClock.nowUs());
          const { user, system } = process.cpuUsage(before);
          usedUs += user + system;
          await sleep(systemClock, 20);
        }
        costs.push(usedUs / samples / containers);
        log(`run ${run + 1}: ${round(costs.at(-1)!)} us a container and sample`);
      }
      const report = sampler.report(systemClock.nowUs());
      return {
        parameters: { containers, samples, runs, cgroup: mounts.v1.size > 0 ? 'v1' : 'v2' },
        figures: {
          us_per_container_sample: round(median(costs)),
          us_min: round(Math.min(...costs)),
          us_max: round(Math.max(...costs)),
          bytes_per_container_report: round(bytesOfBusyReport(systemClock.nowUs()) / containers, 1),
        },
        oracle: { checked: true, violations: report.ids.length === containers ? 0 : 1 },
      };
    } finally {
      sampler.close();
      removeGroups();
    }
  },
};
