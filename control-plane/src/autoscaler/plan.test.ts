import { Autoscale } from '@gantry/proto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AutoscaleInput, planAutoscale, type Recommendation } from './plan.ts';

const second = 1e6;
const reservation = { cpuMillis: 100, memoryBytes: 1000, ioBytesPerSecond: 0, networkBytesPerSecond: 0 };

function plan(init: Partial<Omit<AutoscaleInput, 'autoscale'>> & { autoscale?: Partial<Autoscale>; cpu?: number[] }) {
  const { autoscale, cpu = [], ...rest } = init;
  return planAutoscale({
    reservation,
    current: cpu.length,
    samples: cpu.map((cpuMillis) => ({ cpuMillis, memoryBytes: 0 })),
    missing: 0,
    history: [],
    sinceUs: 0,
    nowUs: 1000 * second,
    ...rest,
    autoscale: Autoscale.create({ min: 1, max: 10, cpuPercent: 50, ...autoscale }),
  });
}

describe('autoscale plan', () => {
  test('grows at once to what the use asks for, and says why', () => {
    expect(plan({ cpu: [100, 100, 50] })).toMatchObject({ replicas: 5, reason: 'cpu 83% of the reservation, 50% aimed at' });
  });

  test.each([
    ['within the tolerance', [54, 54], 2],
    ['just past it', [56, 56], 3],
    ['idle, down to min', [0, 0], 1],
    ['past max', [100, 100, 100, 100, 100, 100, 100, 100], 10],
  ])('%s', (_, cpu, replicas) => expect(plan({ cpu }).replicas).toBe(replicas));

  test('the target that asks for most decides', () => {
    const samples = [{ cpuMillis: 10, memoryBytes: 900 }];
    expect(plan({ samples, current: 1, autoscale: { memoryPercent: 30 } })).toMatchObject({
      replicas: 3,
      reason: 'memory 90% of the reservation, 30% aimed at',
    });
  });

  test('shrinks only to the highest recommendation of the window, and not before a whole window is known', () => {
    const history: Recommendation[] = [
      { atUs: 930 * second, replicas: 9 },
      { atUs: 950 * second, replicas: 4 },
      { atUs: 990 * second, replicas: 2 },
    ];
    expect(plan({ cpu: [10, 10, 10, 10, 10], history }).replicas).toBe(4);
    expect(plan({ cpu: [10, 10, 10, 10, 10], sinceUs: 941 * second }).replicas).toBe(5);
    expect(plan({ cpu: [10, 10, 10, 10, 10], sinceUs: 940 * second }).replicas).toBe(1);
  });

  test('grows after its own window only, when it has one', () => {
    const autoscale = { scaleUpStabilizationUs: 30 * second };
    expect(plan({ cpu: [100], autoscale, history: [{ atUs: 980 * second, replicas: 1 }] }).replicas).toBe(1);
    expect(plan({ cpu: [100], autoscale, history: [{ atUs: 980 * second, replicas: 2 }] }).replicas).toBe(2);
  });

  test('what is not measured never makes it shrink and dampens growth', () => {
    expect(plan({ cpu: [], current: 5, missing: 5 }).replicas).toBe(5);
    expect(plan({ cpu: [10], current: 4, missing: 3 }).replicas).toBe(4);
    expect(plan({ cpu: [100, 100], current: 4, missing: 2 }).replicas).toBe(4);
  });

  test('stays between min and max, never shrinks by missing samples, and turns at most once a window under any load', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ cpu: fc.integer({ min: 0, max: 200 }), missing: fc.integer({ min: 0, max: 10 }) }), { maxLength: 80 }),
        (loads) => {
          let current = 2;
          let history: readonly Recommendation[] = [];
          let lastUpUs = Number.NEGATIVE_INFINITY;
          for (const [index, { cpu, missing }] of loads.entries()) {
            const nowUs = index * 5 * second;
            const measured = Math.max(0, current - missing);
            const input = {
              current,
              history,
              nowUs,
              sinceUs: 0,
              missing: current - measured,
              cpu: Array.from({ length: measured }, () => cpu),
            };
            const decision = plan({ ...input, autoscale: { min: 2, max: 8 } });
            expect(decision.replicas).toBeGreaterThanOrEqual(2);
            expect(decision.replicas).toBeLessThanOrEqual(8);
            if (measured === 0) expect(decision.replicas).toBe(current);
            if (decision.replicas < current) expect(nowUs - lastUpUs).toBeGreaterThanOrEqual(55 * second);
            if (decision.replicas > current) lastUpUs = nowUs;
            history = decision.history;
            current = decision.replicas;
          }
        },
      ),
    );
  });
});
