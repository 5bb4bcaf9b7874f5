import { Probe, ProbeType } from '@gantry/proto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { advance, nextDelayMs, type ProbePlan, type ProbeState, planOf, startingState } from './probe-state.ts';

const plan: ProbePlan = { intervalMs: 1000, timeoutMs: 500, retries: 3, startPeriodMs: 5000, firstMs: 50 };

function after(results: readonly [boolean, number][], from: ProbeState = startingState(0)): ProbeState {
  return results.reduce((state, [success, nowMs]) => advance(state, success, plan, nowMs), from);
}

describe('a probe', () => {
  test('has the defaults of Compose where nothing is said', () => {
    expect(planOf(Probe.create({ type: ProbeType.http }), true)).toEqual({
      intervalMs: 30_000,
      timeoutMs: 30_000,
      retries: 3,
      startPeriodMs: 0,
      firstMs: 50,
    });
  });

  test('passes at its first success, during the start period too', () => {
    expect(after([[true, 100]])).toEqual({ kind: 'passing', failures: 0 });
  });

  test('is not failing before the start period and the retries have passed, however often it was tried', () => {
    const early = Array.from({ length: 50 }, (_, index): [boolean, number] => [false, index * 150]);
    expect(after(early).kind).toBe('starting');
    expect(after([...early, [false, 7999]]).kind).toBe('starting');
    expect(after([...early, [false, 8000]]).kind).toBe('failing');
  });

  test('fails after its retries in a row, and a success between them starts the count again', () => {
    const passing = after([[true, 0]]);
    expect(after([[false, 1], [false, 2]], passing).kind).toBe('passing'); // biome-ignore format: a table
    expect(after([[false, 1], [false, 2], [true, 3], [false, 4], [false, 5]], passing).kind).toBe('passing'); // biome-ignore format: a table
    expect(after([[false, 1], [false, 2], [false, 3]], passing).kind).toBe('failing'); // biome-ignore format: a table
  });

  test('recovers from failing at one success', () => {
    expect(advance({ kind: 'failing' }, true, plan, 9)).toEqual({ kind: 'passing', failures: 0 });
    expect(advance({ kind: 'failing' }, false, plan, 9)).toEqual({ kind: 'failing' });
  });

  test('comes quickly at first, then each second, then at its interval', () => {
    const delays = [0, 1, 2, 3, 4, 5, 20].map((attempts) => nextDelayMs({ kind: 'starting', sinceMs: 0, attempts }, plan));
    expect(delays).toEqual([50, 100, 200, 400, 800, 1000, 1000]);
    expect(nextDelayMs({ kind: 'passing', failures: 0 }, { ...plan, intervalMs: 7000 })).toBe(7000);
  });

  test('never returns to starting, and is failing only after as many failures in a row as it has retries', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(3000)), { maxLength: 60 }), fc.integer({ min: 1, max: 5 }), (steps, retries) => {
        let state = startingState(0);
        let nowMs = 0;
        let inARow = 0;
        let succeeded = false;
        for (const [success, stepMs] of steps) {
          nowMs += stepMs;
          state = advance(state, success, { ...plan, retries }, nowMs);
          succeeded ||= success;
          inARow = success ? 0 : inARow + 1;
          if (succeeded) expect(state.kind).not.toBe('starting');
          if (success) expect(state.kind).toBe('passing');
          if (succeeded) expect(state.kind === 'failing').toBe(inARow >= retries);
        }
      }),
    );
  });
});
