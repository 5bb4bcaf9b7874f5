import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as v1 from './cgroup-v1.ts';
import * as v2 from './cgroup-v2.ts';
import { type Counters, type Gauge, zeroCounters } from './counters.ts';
import { findCgroupMounts } from './mounts.ts';
import { parseNetDev } from './netns.ts';
import { parsePressure } from './psi.ts';
import { lineValue, numberAt } from './scan.ts';

/** Parses out of a buffer that is longer than the text and full of old digits, as the shared one is. */
function parsed(parse: Gauge['parse'], text: string, before: Partial<Counters> = {}): Counters {
  const buffer = Buffer.alloc(text.length + 100, '9');
  buffer.write(text, 'latin1');
  const counters = { ...zeroCounters(), ...before };
  parse(buffer, text.length, counters);
  return counters;
}

const with_ = (fields: Partial<Counters>): Counters => ({ ...zeroCounters(), ...fields });

describe('files of cgroup v1', () => {
  const cases: [string, Gauge['parse'], string, Partial<Counters>][] = [
    ['cpuacct.usage in nanoseconds', v1.parseCpuacctUsage, '1234567890123\n', { cpuUs: 1_234_567_890 }],
    ['cpu.stat', v1.parseThrottling, 'nr_periods 10\nnr_throttled 4\nthrottled_time 12345\n', { periods: 10, throttledPeriods: 4 }],
    ['memory.usage_in_bytes', v1.parseMemoryUsage, '4096\n', { memoryUsageBytes: 4096 }],
    [
      'memory.stat, where only the total counts',
      v1.parseMemoryStat,
      'cache 1\ninactive_file 111\ntotal_cache 2\ntotal_inactive_file 8192\ntotal_active_file 7\n',
      { memoryInactiveFileBytes: 8192 },
    ],
    [
      'blkio bytes, over disks and without loop devices',
      v1.parseBlkioBytes,
      '254:0 Read 100\n254:0 Write 200\n254:0 Sync 300\n254:0 Discard 5\n254:0 Total 300\n8:16 Read 1\n8:16 Write 2\n7:0 Read 1000\n7:0 Write 1000\nTotal 303\n',
      { ioReadBytes: 101, ioWriteBytes: 202 },
    ],
    ['blkio operations', v1.parseBlkioOperations, '254:0 Read 3\n254:0 Write 4\nTotal 7\n', { ioReadOperations: 3, ioWriteOperations: 4 }],
    ['blkio before the first I/O', v1.parseBlkioBytes, 'Total 0\n', {}],
    ['pids.current', v1.parsePids, '12\n', { pids: 12 }],
    [
      'process I/O without what was taken back',
      v1.parseProcessIo,
      'rchar: 6976\nwchar: 9\nread_bytes: 5\nwrite_bytes: 4096\ncancelled_write_bytes: 1024\n',
      { dirtiedBytes: 3072 },
    ],
  ];
  test.each(cases)('%s', (_what, parse, text, expected) => {
    expect(parsed(parse, text)).toEqual(with_(expected));
  });
});

describe('files of cgroup v2', () => {
  const cases: [string, Gauge['parse'], string, Partial<Counters>][] = [
    [
      'cpu.stat',
      v2.parseCpuStat,
      'usage_usec 5000\nuser_usec 1\nsystem_usec 2\nnr_periods 20\nnr_throttled 1\nthrottled_usec 9\n',
      { cpuUs: 5000, periods: 20, throttledPeriods: 1 },
    ],
    ['cpu.stat without a limit', v2.parseCpuStat, 'usage_usec 7\nuser_usec 1\n', { cpuUs: 7 }],
    ['memory.stat', v2.parseMemoryStat, 'anon 1\nfile 2\ninactive_file 300\nactive_file 4\n', { memoryInactiveFileBytes: 300 }],
    [
      'io.stat, over disks and without loop devices',
      v2.parseIoStat,
      '8:0 rbytes=10 wbytes=20 rios=3 wios=4 dbytes=99 dios=99\n7:1 rbytes=500 wbytes=500 rios=5 wios=5 dbytes=0 dios=0\n259:0 rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0\n',
      { ioReadBytes: 11, ioWriteBytes: 22, ioReadOperations: 4, ioWriteOperations: 5 },
    ],
  ];
  test.each(cases)('%s', (_what, parse, text, expected) => {
    expect(parsed(parse, text)).toEqual(with_(expected));
  });
});

test('garbage in any file changes no counter of cpu, memory, pids or pressure', () => {
  const before = { cpuUs: 5, periods: 3, throttledPeriods: 2, memoryUsageBytes: 7, memoryInactiveFileBytes: 6, pids: 4 };
  const parsers = [v1.parseCpuacctUsage, v1.parseThrottling, v1.parseMemoryUsage, v1.parseMemoryStat, v1.parsePids, v2.parseCpuStat];
  for (const parse of parsers)
    for (const text of ['', '\n', 'max\n', '-1\n', 'x y z']) expect(parsed(parse, text, before)).toEqual(with_(before));
});

test('no parser throws or makes a negative number, whatever it reads', () => {
  const parsers = [
    ...[v1.parseCpuacctUsage, v1.parseThrottling, v1.parseMemoryUsage, v1.parseMemoryStat, v1.parseBlkioBytes, v1.parseProcessIo],
    ...[v2.parseCpuStat, v2.parseMemoryStat, v2.parseIoStat],
  ];
  const piece = fc.constantFrom(
    '8:0 ',
    'Read ',
    'Write ',
    '12',
    '\n',
    ' ',
    'rbytes=',
    'usage_usec ',
    'nr_periods ',
    'write_bytes: ',
    '-',
    ':',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      for (const parse of parsers)
        for (const value of Object.values(parsed(parse, pieces.join('')))) expect(value).toBeGreaterThanOrEqual(0);
    }),
  );
});

test.each([
  ['some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=9.99', 0],
  ['some avg10=3.22 avg60=0.58 avg300=0.12 total=521941\n', 32],
  ['some avg10=0.19 avg60=0.58 avg300=0.12 total=521941\n', 1],
  ['some avg10=100.00 avg60=0.58 avg300=0.12 total=521941\n', 1000],
  ['', -1],
  ['full avg10=3.22', -1],
])('pressure of %j is %d thousandths', (text, permille) => {
  expect(parsePressure(Buffer.from(text), text.length)).toBe(permille);
});

test('/proc/net/dev is read line by line, its head left out', () => {
  const text = [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
    '    lo: 16554126    8340    0    0    0     0          0         0 16554126    8340    0    0    0     0       0          0',
    'veth1:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16',
    'broken: 1 2 3',
    '',
  ].join('\n');
  const found = new Map<string, object>();
  parseNetDev(Buffer.from(text), text.length, (name, counters) => found.set(name, { ...counters }));
  expect([...found.keys()]).toEqual(['lo', 'veth1']);
  expect(found.get('veth1')).toEqual({
    receiveBytes: 1,
    receivePackets: 2,
    receiveDrops: 4,
    transmitBytes: 9,
    transmitPackets: 10,
    transmitDrops: 12,
  });
});

test('control groups are found in all three layouts', () => {
  const hybrid = [
    '30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
    '31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct',
    '32 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
    '33 25 0:28 / /mnt/again rw - cgroup cgroup rw,memory',
    '34 25 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd',
  ].join('\n');
  const found = findCgroupMounts(hybrid);
  expect(Object.fromEntries(found.v1)).toEqual({
    cpu: '/sys/fs/cgroup/cpu,cpuacct',
    cpuacct: '/sys/fs/cgroup/cpu,cpuacct',
    memory: '/sys/fs/cgroup/memory',
  });
  expect(found.unified).toBe('/sys/fs/cgroup/unified');
  expect(findCgroupMounts('30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw')).toEqual({ v1: new Map(), unified: '/sys/fs/cgroup' });
  expect(findCgroupMounts('')).toEqual({ v1: new Map(), unified: '' });
});

test('numbers are read exactly up to 2^53', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.constantFrom('', ' ', '\n', 'x'), (value, tail) => {
      const text = Buffer.from(`key ${value}${tail}`);
      expect(numberAt(text, 3, text.length)).toBe(value);
      expect(lineValue(text, text.length, Buffer.from('key '))).toBe(value);
    }),
  );
});
