import { ManualClock } from '@gantry/common';
import { Event, Usage } from '@gantry/proto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventLog } from './event-log.ts';
import { startIngest } from './ingest.ts';
import { downsample, overContainers, overTime } from './measure.ts';
import { MemoryWindows, pointUs, readHistory } from './windows.ts';

const use = (cpuMillis: number, init: Partial<Usage> = {}) => Usage.create({ cpuMillis, ...init });
const any = { namespace: '', app: '', service: '', subject: '', sinceUs: 0 };

test('over time rates are averaged, peaks are kept, totals are the last', () => {
  const usages = [use(100, { memoryPeakBytes: 9, cpuTotalUs: 5 }), use(200, { memoryPeakBytes: 7, cpuTotalUs: 8 })];
  expect(overTime(usages, 42)).toMatchObject({ at: 42, cpuMillis: 150, memoryPeakBytes: 9, cpuTotalUs: 8 });
  expect(overTime([], 42)).toEqual(Usage.create({ at: 42 }));
});

test('over containers amounts add up and pressures are the worst', () => {
  expect(overContainers([use(100, { ioPressurePermille: 3 }), use(50, { ioPressurePermille: 8 })], 1)).toMatchObject({
    cpuMillis: 150,
    ioPressurePermille: 8,
  });
});

test('a coarser step keeps the mean of all points and their order', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 4000 }), { minLength: 1, maxLength: 50 }),
      fc.integer({ min: 1, max: 20 }),
      (values, factor) => {
        const points = values.map((cpu, index) => use(cpu, { at: index * pointUs }));
        const coarse = downsample(points, factor * pointUs);
        expect(coarse).toHaveLength(Math.ceil(values.length / factor));
        expect(coarse.map((point) => point.at)).toEqual(coarse.map((_, index) => index * factor * pointUs));
        const low = Math.min(...values);
        const high = Math.max(...values);
        expect(coarse.every((point) => point.cpuMillis >= low && point.cpuMillis <= high)).toBe(true);
      },
    ),
  );
});

test('reports become one point each ten seconds for container, service and node', async () => {
  const clock = new ManualClock();
  const windows = new MemoryWindows();
  const ingest = startIngest({ windows, clock, serviceOf: (id) => (id.startsWith('w') ? 'default/shop/web' : undefined) });
  const report = (cpu: number) =>
    ingest.record({
      node: 'n1',
      usage: use(900),
      containers: new Map([
        ['w1', use(cpu)],
        ['w2', use(10)],
        ['x', use(1)],
      ]),
    });
  report(100);
  await clock.advance(5000);
  report(300);
  await clock.advance(6000);
  const cpu = async (subject: string) => (await windows.read(subject, 0)).map((point) => [point.at % pointUs, point.cpuMillis]);
  expect(await cpu('container/w1')).toEqual([[0, 200]]);
  expect(await cpu('service/default/shop/web')).toEqual([[0, 210]]);
  expect(await cpu('node/n1')).toEqual([[0, 900]]);
  expect(await cpu('container/gone')).toEqual([]);
  report(50);
  ingest.stop();
  expect(await cpu('container/w1')).toEqual([
    [0, 200],
    [0, 50],
  ]);
  expect(clock.pending).toBe(0);
});

test('history comes in the step that is asked for, and refuses what makes no sense', async () => {
  const windows = new MemoryWindows(2, 3);
  for (let index = 0; index < 4; index++) windows.add([{ subject: 'node/n1', usage: use(index * 100, { at: index * pointUs }) }]);
  const ask = (sinceUs: number, stepUs: number) => readHistory(windows, { subject: 'node/n1', sinceUs, stepUs });
  expect((await ask(0, 0)).map((point) => point.cpuMillis)).toEqual([100, 200, 300]);
  expect((await ask(2 * pointUs, 1)).map((point) => point.cpuMillis)).toEqual([200, 300]);
  expect((await ask(0, 2 * pointUs)).map((point) => point.cpuMillis)).toEqual([100, 250]);
  await expect(ask(-1, 0)).rejects.toThrow('negative');
  for (const subject of ['a', 'b']) windows.add([{ subject, usage: use(1) }]);
  expect(await ask(0, 0)).toEqual([]);
});

test('events are listed oldest first by filter, are bounded, and never twice', async () => {
  const clock = new ManualClock();
  const log = new EventLog({ clock, limit: 10 });
  for (let index = 0; index < 30; index++) {
    await clock.advance(1);
    log.emit({ type: 'T', message: String(index), namespace: index % 2 === 0 ? 'even' : 'odd' });
  }
  const kept = await log.list(any);
  expect(kept.length).toBeLessThanOrEqual(11);
  expect(kept.at(-1)).toMatchObject({ message: '29', at: clock.nowUs() });
  expect((await log.list({ ...any, namespace: 'odd', sinceUs: clock.nowUs() - 2000 })).map((event) => event.message)).toEqual(['27', '29']);
  log.accept(kept[3]!);
  expect(await log.list(any)).toEqual(kept);
  log.accept(Event.create({ id: 'late', at: kept[2]!.at, type: 'T' }));
  const ats = (await log.list(any)).map((event) => event.at);
  expect(ats).toEqual([...ats].sort((a, b) => a - b));
});

test('a watcher gets what it asked for, old and new, and ends with its signal', async () => {
  const clock = new ManualClock();
  const log = new EventLog({ clock });
  log.emit({ type: 'A', message: 'old', app: 'shop' });
  const aborter = new AbortController();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const event of log.watch({ ...any, app: 'shop', sinceUs: 1 }, aborter.signal)) {
      seen.push(event.message);
      if (event.message === 'new') aborter.abort();
    }
  })();
  log.emit({ type: 'A', message: 'other', app: 'blog' });
  log.emit({ type: 'A', message: 'new', app: 'shop' });
  await watching;
  expect(seen).toEqual(['old', 'new']);
});
