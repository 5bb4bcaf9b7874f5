import { join } from 'node:path';
import type { Counters, Gauge } from './counters.ts';
import { keyOf, lineValue, nextLine, numberAt } from './scan.ts';

/** cpuacct.usage: nanoseconds. */
export function parseCpuacctUsage(buffer: Buffer, length: number, into: Counters): void {
  const value = numberAt(buffer, 0, length);
  if (value >= 0) into.cpuUs = Math.floor(value / 1000);
}

const periods = keyOf('nr_periods ');
const throttled = keyOf('nr_throttled ');

/** cpu.stat: also of v2, where it has more lines. */
export function parseThrottling(buffer: Buffer, length: number, into: Counters): void {
  const total = lineValue(buffer, length, periods);
  const cut = lineValue(buffer, length, throttled);
  if (total < 0 || cut < 0) return;
  into.periods = total;
  into.throttledPeriods = cut;
}

/** memory.usage_in_bytes, and v2's memory.current. */
export function parseMemoryUsage(buffer: Buffer, length: number, into: Counters): void {
  const value = numberAt(buffer, 0, length);
  if (value >= 0) into.memoryUsageBytes = value;
}

const inactiveFile = keyOf('total_inactive_file ');

/** memory.stat: the file cache of the group and those beneath. */
export function parseMemoryStat(buffer: Buffer, length: number, into: Counters): void {
  const value = lineValue(buffer, length, inactiveFile);
  if (value >= 0) into.memoryInactiveFileBytes = value;
}

/** pids.current: tasks of the group and those beneath. */
export function parsePids(buffer: Buffer, length: number, into: Counters): void {
  const value = numberAt(buffer, 0, length);
  if (value >= 0) into.pids = value;
}

const colon = 0x3a;
const read = 0x52;
const write = 0x57;
/** Loop devices: what they do is counted again at the disk beneath. */
const loopMajor = 7;

/** Sums the lines "8:0 Read 4096" and "8:0 Write 4096" over all disks. */
function sumBlkio(buffer: Uint8Array, length: number): { read: number; write: number } {
  const sums = { read: 0, write: 0 };
  for (let at = 0; at < length; at = nextLine(buffer, at, length)) {
    const major = numberAt(buffer, at, length);
    if (major < 0 || major === loopMajor) continue;
    let word = at;
    while (word < length && buffer[word] !== 0x20 && buffer[word] !== 0x0a) word++;
    if (buffer[at + String(major).length] !== colon || buffer[word] !== 0x20) continue;
    const kind = buffer[word + 1];
    if (kind === read) sums.read += Math.max(0, numberAt(buffer, word + 'Read '.length, length));
    else if (kind === write) sums.write += Math.max(0, numberAt(buffer, word + 'Write '.length + 1, length));
  }
  return sums;
}

/** blkio.throttle.io_service_bytes_recursive: a buffered write is in it only when the container itself syncs. */
export function parseBlkioBytes(buffer: Buffer, length: number, into: Counters): void {
  const sums = sumBlkio(buffer, length);
  into.ioReadBytes = sums.read;
  into.ioWriteBytes = sums.write;
}

/** blkio.throttle.io_serviced_recursive. */
export function parseBlkioOperations(buffer: Buffer, length: number, into: Counters): void {
  const sums = sumBlkio(buffer, length);
  into.ioReadOperations = sums.read;
  into.ioWriteOperations = sums.write;
}

const writeBytes = keyOf('write_bytes: ');
const cancelled = keyOf('cancelled_write_bytes: ');

/** /proc/<pid>/io: what a process dirtied and did not take back; that of children is added when they are reaped. */
export function parseProcessIo(buffer: Buffer, length: number, into: Counters): void {
  const written = lineValue(buffer, length, writeBytes);
  if (written >= 0) into.dirtiedBytes = Math.max(0, written - Math.max(0, lineValue(buffer, length, cancelled)));
}

/** The files of a container whose controllers are on v1; `roots` has the mount of each controller. */
export function gaugesV1(roots: ReadonlyMap<string, string>, cgroupPath: string, processIo: string): Gauge[] {
  const files: [string, string, number, Gauge['parse']][] = [
    ['cpuacct', 'cpuacct.usage', 1, parseCpuacctUsage],
    ['cpu', 'cpu.stat', 1, parseThrottling],
    ['memory', 'memory.usage_in_bytes', 1, parseMemoryUsage],
    ['memory', 'memory.stat', 5, parseMemoryStat],
    ['blkio', 'blkio.throttle.io_service_bytes_recursive', 1, parseBlkioBytes],
    ['blkio', 'blkio.throttle.io_serviced_recursive', 1, parseBlkioOperations],
    ['pids', 'pids.current', 1, parsePids],
  ];
  const gauges = files.flatMap(([controller, file, every, parse]) => {
    const root = roots.get(controller);
    return root === undefined ? [] : [{ path: join(root, cgroupPath, file), every, parse }];
  });
  if (roots.has('blkio') && processIo !== '') gauges.push({ path: processIo, every: 1, parse: parseProcessIo });
  return gauges;
}
