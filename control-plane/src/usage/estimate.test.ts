import { ManualClock } from '@gantry/common';
import { Resources } from '@gantry/proto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { estimateDefaults, UsageEstimate } from './estimate.ts';
import { ExponentialHistogram } from './estimate-histogram.ts';

const mib = 2 ** 20;
const reservation = Resources.create({ cpuMillis: 1000, memoryBytes: 512 * mib, ioBytesPerSecond: 10e6, networkBytesPerSecond: 20e6 });
const nothing = Resources.create();
const keys = ['cpuMillis', 'memoryBytes', 'ioBytesPerSecond', 'networkBytesPerSecond'] as const;
const reportUs = 5e6;

const amounts = fc.record({
  cpuMillis: fc.integer({ min: 0, max: 64_000 }),
  memoryBytes: fc.integer({ min: 0, max: 2 ** 36 }),
  ioBytesPerSecond: fc.integer({ min: 0, max: 2e9 }),
  networkBytesPerSecond: fc.integer({ min: 0, max: 2e9 }),
});
/** Measurements with the time since the one before: reports, gaps, and clocks that stand still. */
const trace = fc.array(fc.record({ use: amounts, afterUs: fc.constantFrom(0, reportUs, reportUs, 30e6, 3600e6, 86_400e6 * 40) }), {
  minLength: 1,
  maxLength: 120,
});

function play(steps: readonly { use: Resources; afterUs: number }[]): UsageEstimate {
  const estimate = new UsageEstimate();
  let at = 0;
  for (const { use, afterUs } of steps) {
    at += afterUs;
    estimate.observe(use, at);
  }
  return estimate;
}

test('property: an estimate is never under the floor, nor under the newest measurement and its margin', () => {
  fc.assert(
    fc.property(trace, amounts, (steps, start) => {
      const expected = play(steps).expected(start);
      const newest = steps.at(-1)!.use;
      for (const key of keys) {
        expect(expected[key]).toBeGreaterThanOrEqual(estimateDefaults.floor[key]);
        expect(expected[key]).toBeGreaterThanOrEqual(newest[key] * 1.15 * 0.999_999);
      }
    }),
  );
});

test('property: through the warm-up an estimate is never under its start', () => {
  fc.assert(
    fc.property(fc.array(amounts, { minLength: 1, maxLength: 60 }), amounts, (uses, start) => {
      const expected = play(uses.map((use) => ({ use, afterUs: reportUs }))).expected(start);
      for (const key of keys) expect(expected[key]).toBeGreaterThanOrEqual(start[key]);
    }),
  );
});

test('property: who uses more at every time is expected to use at least as much', () => {
  fc.assert(
    fc.property(trace, fc.infiniteStream(amounts), amounts, (steps, extra, start) => {
      const more = steps.map(({ use, afterUs }) => {
        const add = extra.next().value!;
        return { afterUs, use: Object.fromEntries(keys.map((key) => [key, use[key] + add[key]])) as unknown as Resources };
      });
      const less = play(steps).expected(start);
      const greater = play(more).expected(start);
      for (const key of keys) expect(greater[key]).toBeGreaterThanOrEqual(less[key]);
    }),
  );
});

test('property: nothing is expected above the largest of start and measurements, but for margin and bucket', () => {
  fc.assert(
    fc.property(trace, amounts, (steps, start) => {
      const expected = play(steps).expected(start);
      for (const key of keys) {
        const largest = Math.max(...steps.map(({ use }) => use[key]));
        // the finest amount told apart of the dimension is the least that a percentile can say
        const told = largest === 0 ? 0 : Math.max(largest * 1.15, key === 'cpuMillis' ? 5 : 8192) * 1.15;
        expect(expected[key]).toBeLessThanOrEqual(Math.ceil(Math.max(start[key], told, estimateDefaults.floor[key]) * 1.000_001));
      }
    }),
  );
});

test('property: a percentile lies at most one bucket above the exact one', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 1, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 300 }),
      fc.constantFrom(0.5, 0.95, 1),
      (values, share) => {
        const histogram = new ExponentialHistogram(5);
        for (const value of values) histogram.add(value, 1);
        const exact = values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share * (1 - 1e-6)) - 1)]!;
        expect(histogram.percentile(share)).toBeGreaterThanOrEqual(exact);
        expect(histogram.percentile(share)).toBeLessThanOrEqual(Math.max(5, exact * 1.150_001));
      },
    ),
  );
});

test('measurements that are no amounts count as nothing', () => {
  const estimate = new UsageEstimate();
  for (let at = 0; at < 600e6; at += reportUs) {
    estimate.observe({ cpuMillis: Number.NaN, memoryBytes: -5, ioBytesPerSecond: Number.POSITIVE_INFINITY, networkBytesPerSecond: 0 }, at);
  }
  expect(estimate.expected(nothing)).toEqual(estimateDefaults.floor);
});

test('a clock that went back for one measurement does no harm', () => {
  const estimate = play(Array.from({ length: 100 }, () => ({ use: { ...nothing, cpuMillis: 100 }, afterUs: reportUs })));
  const before = estimate.expected(nothing).cpuMillis;
  estimate.observe({ ...nothing, cpuMillis: 100 }, -1e12);
  estimate.observe({ ...nothing, cpuMillis: 100 }, 101 * reportUs);
  expect(estimate.expected(nothing).cpuMillis).toBe(before);
});

/** Lets a clock run and tells at the end of each part what is expected. */
async function scenario(parts: readonly { text: string; minutes: number; cpu: number; memoryMib: number }[]): Promise<string> {
  const clock = new ManualClock();
  const estimate = new UsageEstimate();
  const lines: string[] = [];
  for (const { text, minutes, cpu, memoryMib } of parts) {
    // a negative amount: no report comes
    for (let second = 0; second < minutes * 60; second += 5) {
      await clock.advance(5000);
      if (cpu >= 0) estimate.observe({ ...nothing, cpuMillis: cpu, memoryBytes: memoryMib * mib }, clock.monotonicMs() * 1000);
    }
    const { cpuMillis, memoryBytes } = estimate.expected(reservation);
    lines.push(`${text.padEnd(26)} ${String(cpuMillis).padStart(5)}m ${String(Math.round(memoryBytes / mib)).padStart(5)}Mi`);
  }
  return `\n${lines.join('\n')}\n`;
}

test('golden: idle service, from the reservation down', async () => {
  expect(
    await scenario([
      { text: 'first report', minutes: 1 / 12, cpu: 50, memoryMib: 100 },
      { text: '5 minutes, still warm-up', minutes: 5 - 1 / 12, cpu: 50, memoryMib: 100 },
      { text: 'an hour later', minutes: 60, cpu: 50, memoryMib: 100 },
      { text: 'three more', minutes: 180, cpu: 50, memoryMib: 100 },
      { text: 'three more', minutes: 180, cpu: 50, memoryMib: 100 },
    ]),
  ).toMatchInlineSnapshot(`
    "
    first report                1000m   512Mi
    5 minutes, still warm-up    1000m   512Mi
    an hour later                501m   256Mi
    three more                    63m   115Mi
    three more                    62m   115Mi
    "
  `);
});

test('golden: growth at once, slowly down, gap, restart', async () => {
  expect(
    await scenario([
      { text: 'six hours at 100m', minutes: 360, cpu: 100, memoryMib: 200 },
      { text: 'one report of 3000m', minutes: 1 / 12, cpu: 3000, memoryMib: 2000 },
      { text: '5 minutes after it', minutes: 5, cpu: 100, memoryMib: 200 },
      { text: '30 minutes after it', minutes: 25, cpu: 100, memoryMib: 200 },
      { text: 'one hour of 800m', minutes: 60, cpu: 800, memoryMib: 200 },
      { text: 'an hour at 100m again', minutes: 60, cpu: 100, memoryMib: 200 },
      { text: 'no report for 12 hours', minutes: 720, cpu: -1, memoryMib: -1 },
      { text: 'restarted, idle', minutes: 10, cpu: 20, memoryMib: 50 },
      { text: 'a day later', minutes: 1440, cpu: 20, memoryMib: 50 },
    ]),
  ).toMatchInlineSnapshot(`
    "
    six hours at 100m            125m   230Mi
    one report of 3000m         3450m  2300Mi
    5 minutes after it          1726m  2294Mi
    30 minutes after it          125m  2267Mi
    one hour of 800m            1013m  2202Mi
    an hour at 100m again       1013m  2140Mi
    no report for 12 hours      1013m  2140Mi
    restarted, idle             1013m  1506Mi
    a day later                  125m   753Mi
    "
  `);
});
