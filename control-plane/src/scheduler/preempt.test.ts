import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { amountsOf } from './dimensions.ts';
import { NodeTable } from './node-table.ts';
import { bandOf, chooseVictims, type Occupant, smallestSet } from './preempt.ts';
import { demand, node } from './testing/fixtures.ts';

const amounts = (cpuMillis: number, gib = 0) =>
  amountsOf({ cpuMillis, memoryBytes: gib * 2 ** 30, ioBytesPerSecond: 0, networkBytesPerSecond: 0 });

interface Where extends Occupant {
  readonly node: string;
}

/** Two nodes of 4 cores with these containers. */
function cluster(running: readonly Where[], leaving: readonly Where[] = []) {
  const table = new NodeTable();
  for (const name of ['n1', 'n2']) table.upsert(node(name));
  for (const { id, service, node: name, needs } of [...running, ...leaving]) table.charge(service, id, name, needs);
  const occupancy = {
    occupants: (name: string) => running.filter((each) => each.node === name),
    leaving: (name: string) =>
      leaving.filter((each) => each.node === name).reduce((sum, { needs }) => sum.map((value, at) => value + needs[at]!), amounts(0)),
    budget: (_service: string) => 9,
  };
  const choose = (missing: number, init: object = {}, budget = 9) =>
    chooseVictims(
      table,
      { service: 'vip', demand: demand({ needs: amounts(2000, 1), ...init }), priority: 150, missing },
      { ...occupancy, budget: () => budget },
    ).map(({ id }) => id);
  return { choose };
}

const on = (name: string, id: string, cpu: number, priority = 0, service = 's'): Where => ({
  id,
  service,
  node: name,
  needs: amounts(cpu, 1),
  priority,
});

describe('preemption', () => {
  test('stops the fewest of the lowest band, and nobody of its own band or above', () => {
    expect(cluster([on('n1', 'a', 2000), on('n1', 'b', 2000), on('n2', 'c', 4000, -100)]).choose(1)).toEqual(['c']);
    expect(cluster([on('n1', 'a', 1000), on('n1', 'b', 1000), on('n1', 'c', 2000), on('n2', 'd', 4000, 100)]).choose(1)).toEqual(['c']);
    expect(cluster([on('n1', 'a', 4000, 100), on('n2', 'b', 4000, 199)]).choose(1)).toEqual([]);
  });

  test('waits for what is stopping already instead of stopping more', () => {
    expect(cluster([on('n1', 'a', 4000)], [on('n2', 'b', 4000)]).choose(2)).toEqual([]);
    expect(cluster([on('n1', 'a', 4000)], [on('n2', 'b', 2000), on('n2', 'x', 2000)]).choose(3)).toEqual(['a']);
  });

  test('keeps to the budget of a service and to what the wish asks of nodes', () => {
    const full = [on('n1', 'a', 2000), on('n1', 'b', 2000), on('n2', 'c', 2000), on('n2', 'd', 2000)];
    expect(cluster(full).choose(3)).toHaveLength(3);
    expect(cluster(full).choose(3, {}, 1)).toHaveLength(1);
    expect(cluster(full).choose(3, { maxPerNode: 1 })).toHaveLength(2);
    expect(
      cluster(full)
        .choose(2, { pin: { node: 'n2', reason: 'data' } })
        .sort(),
    ).toEqual(['c', 'd']);
  });

  test('the set is as small as any that a search through all sets finds, in the lowest band that can do', () => {
    const candidate = fc.record({
      cpu: fc.integer({ min: 0, max: 4 }),
      gib: fc.integer({ min: 0, max: 4 }),
      priority: fc.constantFrom(-150, 0, 50),
    });
    fc.assert(
      fc.property(fc.array(candidate, { maxLength: 7 }), fc.nat(8), fc.nat(8), (specs, cpu, gib) => {
        const all = specs.map(({ cpu: own, gib: memory, priority }, index): Occupant => {
          return { id: `c${index}`, service: 's', needs: amounts(own, memory), priority };
        });
        const short = amounts(cpu, gib);
        let best: { band: number; size: number } | undefined;
        for (let mask = 0; mask < 2 ** all.length; mask++) {
          const set = all.filter((_, index) => (mask >> index) % 2 === 1);
          if (!short.every((missing, at) => set.reduce((sum, { needs }) => sum + needs[at]!, 0) >= missing)) continue;
          const found = { band: Math.max(-9, ...set.map(({ priority }) => bandOf(priority))), size: set.length };
          if (!best || found.band < best.band || (found.band === best.band && found.size < best.size)) best = found;
        }
        const chosen = smallestSet(short, all);
        expect(chosen === undefined).toBe(best === undefined);
        if (!chosen || !best) return;
        expect(Math.max(-9, ...chosen.map(({ priority }) => bandOf(priority)))).toBe(best.band);
        if (best.size <= 3) expect(chosen).toHaveLength(best.size);
        // none of them can be spared
        for (const each of chosen) {
          const others = chosen.filter((other) => other !== each);
          expect(short.every((missing, at) => others.reduce((sum, { needs }) => sum + needs[at]!, 0) >= missing)).toBe(false);
        }
      }),
      { numRuns: 500 },
    );
  });
});
