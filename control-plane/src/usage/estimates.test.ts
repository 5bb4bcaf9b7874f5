import { ManualClock } from '@gantry/common';
import { Resources, Usage } from '@gantry/proto';
import { expect, test } from 'vitest';
import { createEstimates, type EstimatedContainer } from './estimates.ts';

const reservation = Resources.create({ cpuMillis: 1000, memoryBytes: 2 ** 29 });

function setUp() {
  const clock = new ManualClock();
  const assigned = new Map<string, EstimatedContainer>();
  const assign = (id: string) => assigned.set(id, { id, service: 'default/shop/web', revision: 1, node: 'n1', reservation });
  const estimates = createEstimates({ clock, containerOf: (id) => assigned.get(id) });
  const report = (node: string, id: string, cpuMillis: number) =>
    estimates.record({ node, usage: undefined, containers: new Map([[id, Usage.create({ cpuMillis })]]) });
  return { clock, assigned, assign, estimates, report };
}

test('reports of its node lower an estimate after the warm-up', async () => {
  const { clock, assign, estimates, report } = setUp();
  assign('a');
  for (let minute = 0; minute < 5; minute++) {
    expect(estimates.estimate('a')).toEqual(reservation);
    report('n1', 'a', 100);
    await clock.advance(60_000);
  }
  for (let minute = 0; minute < 600; minute++) {
    report('n1', 'a', 100);
    await clock.advance(60_000);
  }
  expect(estimates.estimate('a')!.cpuMillis).toBeLessThan(150);
});

test('what another node says of a container does not count, nor what is said of one that is not assigned', () => {
  const { assign, estimates, report } = setUp();
  assign('a');
  report('n2', 'a', 9000);
  report('n1', 'b', 9000);
  expect(estimates.estimate('a')).toEqual(reservation);
  expect(estimates.estimate('b')).toBeUndefined();
});

test('a container that is forgotten starts anew', () => {
  const { assign, estimates, report } = setUp();
  assign('a');
  report('n1', 'a', 9000);
  expect(estimates.estimate('a')!.cpuMillis).toBe(10_350);
  estimates.forget('a');
  expect(estimates.estimate('a')).toEqual(reservation);
});
