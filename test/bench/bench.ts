import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

/** What a benchmark measured. */
export interface BenchResult {
  parameters: Record<string, number | string>;
  /** Keys as docs/BENCHMARKS.md names them. */
  figures: Record<string, number>;
  /** After the run: how many rules were broken (nothing over capacity, nothing twice, desired = actual). */
  oracle: { checked: boolean; violations: number };
}

export interface Bench {
  name: string;
  /** One line for the listing. */
  about: string;
  run(log: (line: string) => void): Promise<BenchResult>;
}

/** The value below which `share` of the samples lie. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export const median = (samples: readonly number[]): number => percentile(samples, 0.5);

export const round = (value: number, digits = 2): number => Math.round(value * 10 ** digits) / 10 ** digits;

/** Proportional set size of a process in KiB: shared pages are divided among those that share them. */
export function pssKb(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
}

/** CPU time of a process so far, in milliseconds. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10; // ticks of 10 ms
}

/** The last line that --json prints. */
export function toJson(name: string, result: BenchResult): string {
  const machine = { cpus: cpus().length, memoryBytes: totalmem(), kernel: release() };
  const versions = { gantry: '0.1.0', node: process.version };
  return JSON.stringify({ name, at: new Date().toISOString(), machine, versions, ...result });
}
