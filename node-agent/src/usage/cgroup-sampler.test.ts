import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ManualClock } from '@gantry/common';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createSampler } from './cgroup-sampler.ts';
import type { CgroupMounts } from './mounts.ts';
import type { Sampler } from './sampler.ts';

let base: string;
let clock: ManualClock;
let sampler: Sampler;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'gantry-usage-'));
  clock = new ManualClock();
});

afterEach(() => {
  sampler.close();
  rmSync(base, { recursive: true, force: true });
});

/** Files are rewritten in place, as the kernel's are: a kept descriptor sees the new text. */
function put(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join(base, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}

function netDev(...lines: readonly [string, number, number][]): void {
  const rows = lines.map(
    ([name, received, sent]) => `${name}: ${received} ${received / 100} 0 0 0 0 0 0 ${sent} ${sent / 100} 0 0 0 0 0 0`,
  );
  put({ 'proc/self/net/dev': `head|\nhead|\n${rows.join('\n')}\n` });
}

const controllers = ['cpu', 'cpuacct', 'memory', 'blkio', 'pids'];

function open(layout: 'v1' | 'v2'): void {
  const mounts: CgroupMounts = {
    v1: new Map(layout === 'v1' ? controllers.map((name) => [name, join(base, name)]) : []),
    unified: join(base, 'unified'),
  };
  sampler = createSampler({ mounts, nodeCgroup: '/gantry', clock, procRoot: join(base, 'proc'), sysRoot: join(base, 'sys') });
}

function putV1(group: string, seconds: number): void {
  put({
    [`cpuacct/${group}/cpuacct.usage`]: `${seconds * 500_000_000}\n`,
    [`cpu/${group}/cpu.stat`]: `nr_periods ${seconds * 10}\nnr_throttled ${seconds}\n`,
    [`memory/${group}/memory.usage_in_bytes`]: `${10_000_000 + seconds * 1_000_000}\n`,
    [`memory/${group}/memory.stat`]: 'total_inactive_file 4000000\n',
    [`blkio/${group}/blkio.throttle.io_service_bytes_recursive`]: `8:0 Read ${seconds * 1000}\n8:0 Write ${seconds * 2000}\n`,
    [`blkio/${group}/blkio.throttle.io_serviced_recursive`]: `8:0 Read ${seconds}\n8:0 Write ${seconds * 2}\n`,
    [`pids/${group}/pids.current`]: '3\n',
    [`unified/${group}/cpu.pressure`]: 'some avg10=12.50 avg60=0\n',
    [`unified/${group}/io.pressure`]: 'some avg10=1.00 avg60=0\n',
  });
}

async function second(): Promise<void> {
  await clock.advance(1000);
  sampler.sampleAll(clock.nowUs());
}

const source = { cgroupPath: '/gantry/c1', hostInterface: 'veth1', pid: 40 };

describe('a sampler on v1', () => {
  beforeEach(() => open('v1'));

  test('gives rates over the last second and totals since the start', async () => {
    putV1('gantry/c1', 100);
    putV1('gantry', 100);
    netDev(['veth1', 1000, 5000]);
    sampler.track('c1', source);
    expect(sampler.latest('c1')).toBeUndefined();
    sampler.sampleAll(clock.nowUs());
    expect(sampler.latest('c1')).toMatchObject({ cpuMillis: 0, memoryBytes: 106_000_000, cpuTotalUs: 50_000_000 });
    putV1('gantry/c1', 101);
    putV1('gantry', 102);
    netDev(['veth1', 1700, 5300]);
    await second();
    expect(sampler.latest('c1')).toEqual({
      at: clock.nowUs(),
      cpuMillis: 500,
      memoryBytes: 107_000_000,
      memoryPeakBytes: 107_000_000,
      ioReadBytesPerSecond: 1000,
      ioWriteBytesPerSecond: 2000,
      ioReadOperationsPerSecond: 1,
      ioWriteOperationsPerSecond: 2,
      networkReceiveBytesPerSecond: 300,
      networkTransmitBytesPerSecond: 700,
      pids: 3,
      throttledPermille: 100,
      cpuPressurePermille: 125,
      memoryPressurePermille: 0,
      ioPressurePermille: 10,
      cpuTotalUs: 50_500_000,
      ioReadTotalBytes: 101_000,
      ioWriteTotalBytes: 202_000,
      ioReadTotalOperations: 101,
      ioWriteTotalOperations: 202,
      networkReceiveTotalBytes: 5300,
      networkTransmitTotalBytes: 1700,
      networkReceiveTotalPackets: 53,
      networkTransmitTotalPackets: 17,
      networkDropsTotal: 0,
    });
    expect(sampler.report(clock.nowUs()).node).toMatchObject({
      cpuMillis: 1000,
      networkReceiveBytesPerSecond: 300,
      networkTransmitBytesPerSecond: 700,
    });
  });

  test('reports rates over the whole time since the report before', async () => {
    putV1('gantry/c1', 0);
    sampler.track('c1', source);
    sampler.sampleAll(clock.nowUs());
    for (const seconds of [1, 3, 3, 3, 10]) {
      putV1('gantry/c1', seconds);
      await second();
    }
    const report = sampler.report(clock.nowUs());
    expect(report.ids).toEqual(['c1']);
    expect(report.usages[0]).toMatchObject({ at: clock.nowUs(), cpuMillis: 1000, ioReadBytesPerSecond: 2000 });
    expect(sampler.latest('c1')).toMatchObject({ cpuMillis: 3500 });
    await second();
    expect(sampler.report(clock.nowUs()).usages[0]).toMatchObject({ cpuMillis: 0 });
  });

  test('counts what the main process dirtied where the group is blind to it, and never less than the group', async () => {
    putV1('gantry/c1', 1);
    put({ 'proc/40/io': 'write_bytes: 0\ncancelled_write_bytes: 0\n' });
    sampler.track('c1', source);
    sampler.sampleAll(clock.nowUs());
    put({ 'proc/40/io': 'write_bytes: 9000\ncancelled_write_bytes: 1000\n' });
    await second();
    expect(sampler.latest('c1')).toMatchObject({ ioWriteBytesPerSecond: 6000, ioWriteTotalBytes: 8000 });
    put({ 'proc/40/io': 'write_bytes: 0\ncancelled_write_bytes: 0\n' });
    await second();
    expect(sampler.latest('c1')).toMatchObject({ ioWriteBytesPerSecond: 0, ioWriteTotalBytes: 2000 });
  });

  test('keeps totals and the peak over a restart of the container', async () => {
    putV1('gantry/c1', 100);
    netDev(['veth1', 1000, 5000]);
    sampler.track('c1', source);
    sampler.sampleAll(clock.nowUs());
    putV1('gantry/c1', 1);
    netDev(['veth1', 10, 50]);
    sampler.track('c1', { ...source, pid: 41 });
    await second();
    expect(sampler.latest('c1')).toMatchObject({
      cpuMillis: 0,
      cpuTotalUs: 50_500_000,
      networkReceiveTotalBytes: 5050,
      memoryBytes: 7_000_000,
      memoryPeakBytes: 106_000_000,
    });
  });

  test('goes on with its readings when the same source is tracked again', async () => {
    putV1('gantry/c1', 1);
    sampler.track('c1', source);
    sampler.sampleAll(clock.nowUs());
    sampler.track('c1', { ...source });
    putV1('gantry/c1', 2);
    await second();
    expect(sampler.latest('c1')).toMatchObject({ cpuMillis: 500, cpuTotalUs: 1_000_000 });
  });

  test('finds a group that comes later than its container, and takes counters that went back for standing still', async () => {
    sampler.track('c1', source);
    sampler.sampleAll(clock.nowUs());
    expect(sampler.latest('c1')).toMatchObject({ cpuTotalUs: 0, pids: 0 });
    putV1('gantry/c1', 4);
    await second();
    await second();
    expect(sampler.latest('c1')).toMatchObject({ cpuTotalUs: 2_000_000, pids: 3 });
    putV1('gantry/c1', 0);
    await second();
    expect(sampler.latest('c1')).toMatchObject({ cpuMillis: 0 });
  });

  test('never gives a negative rate, also when the wall clock jumps', async () => {
    putV1('gantry/c1', 10);
    sampler.track('c1', source);
    sampler.sampleAll(clock.nowUs());
    await clock.advance(1000);
    putV1('gantry/c1', 11);
    sampler.sampleAll(clock.nowUs() - 86_400_000_000);
    expect(sampler.latest('c1')).toMatchObject({ cpuMillis: 500 });
  });

  test('reports nothing of what is not tracked any more, and the sums of the node go on', async () => {
    netDev(['veth1', 1000, 5000], ['veth2', 100, 100]);
    sampler.track('c1', source);
    sampler.track('c2', { cgroupPath: '/gantry/c2', hostInterface: 'veth2', pid: 50 });
    sampler.sampleAll(clock.nowUs());
    netDev(['veth1', 2000, 6000], ['veth2', 200, 300]);
    await second();
    sampler.untrack('c1');
    netDev(['veth2', 200, 400]);
    await second();
    const report = sampler.report(clock.nowUs());
    expect(report.ids).toEqual(['c2']);
    expect(report.node).toMatchObject({ networkReceiveTotalBytes: 1300, networkTransmitTotalBytes: 1100 });
    expect(sampler.latest('c1')).toBeUndefined();
  });

  test('makes the kernel count block I/O of each real disk, once', () => {
    put({
      'sys/block/vda/dev': '254:0\n',
      'sys/block/loop0/dev': '7:0\n',
      'blkio/blkio.throttle.read_bps_device': '',
    });
    sampler.close();
    open('v1');
    expect(readFileSync(join(base, 'blkio/blkio.throttle.read_bps_device'), 'utf8')).toMatch(/^254:0 /);
  });
});

describe('a sampler on v2', () => {
  beforeEach(() => open('v2'));

  test('reads everything from the one tree', async () => {
    const tree = (seconds: number) =>
      put({
        'unified/gantry/c1/cpu.stat': `usage_usec ${seconds * 250_000}\nnr_periods 0\nnr_throttled 0\n`,
        'unified/gantry/c1/memory.current': '5000\n',
        'unified/gantry/c1/memory.stat': 'inactive_file 1000\n',
        'unified/gantry/c1/io.stat': `8:0 rbytes=${seconds * 10} wbytes=${seconds * 20} rios=${seconds} wios=${seconds}\n`,
        'unified/gantry/c1/pids.current': '2\n',
        'unified/gantry/c1/memory.pressure': 'some avg10=0.70 avg60=0\n',
      });
    tree(1);
    sampler.track('c1', { ...source, hostInterface: '' });
    sampler.sampleAll(clock.nowUs());
    tree(2);
    await second();
    expect(sampler.latest('c1')).toMatchObject({
      cpuMillis: 250,
      memoryBytes: 4000,
      ioReadBytesPerSecond: 10,
      ioWriteBytesPerSecond: 20,
      pids: 2,
      memoryPressurePermille: 7,
      throttledPermille: 0,
    });
  });
});
