import { join } from 'node:path';
import { parseMemoryUsage, parsePids, parseThrottling } from './cgroup-v1.ts';
import type { Counters, Gauge } from './counters.ts';
import { keyOf, lineValue, nextLine, numberAt, startsWith } from './scan.ts';

const usage = keyOf('usage_usec ');

/** cpu.stat. */
export function parseCpuStat(buffer: Buffer, length: number, into: Counters): void {
  const value = lineValue(buffer, length, usage);
  if (value >= 0) into.cpuUs = value;
  parseThrottling(buffer, length, into);
}

const inactiveFile = keyOf('inactive_file ');

/** memory.stat. */
export function parseMemoryStat(buffer: Buffer, length: number, into: Counters): void {
  const value = lineValue(buffer, length, inactiveFile);
  if (value >= 0) into.memoryInactiveFileBytes = value;
}

const fields = [
  [keyOf('rbytes='), 'ioReadBytes'],
  [keyOf('wbytes='), 'ioWriteBytes'],
  [keyOf('rios='), 'ioReadOperations'],
  [keyOf('wios='), 'ioWriteOperations'],
] as const;
const loopMajor = 7;

/** io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0", summed over all disks; writeback included. */
export function parseIoStat(buffer: Buffer, length: number, into: Counters): void {
  for (const [, field] of fields) into[field] = 0;
  for (let at = 0; at < length; at = nextLine(buffer, at, length)) {
    if (numberAt(buffer, at, length) === loopMajor) continue;
    for (let word = at; word < length && buffer[word] !== 0x0a; word++) {
      if (buffer[word] !== 0x20) continue;
      for (const [key, field] of fields) {
        if (startsWith(buffer, word + 1, length, key)) into[field] += Math.max(0, numberAt(buffer, word + 1 + key.length, length));
      }
    }
  }
}

/** The files of a container whose controllers are on v2. */
export function gaugesV2(root: string, cgroupPath: string): Gauge[] {
  const folder = join(root, cgroupPath);
  return [
    { path: join(folder, 'cpu.stat'), every: 1, parse: parseCpuStat },
    { path: join(folder, 'memory.current'), every: 1, parse: parseMemoryUsage },
    { path: join(folder, 'memory.stat'), every: 5, parse: parseMemoryStat },
    { path: join(folder, 'io.stat'), every: 1, parse: parseIoStat },
    { path: join(folder, 'pids.current'), every: 1, parse: parsePids },
  ];
}
