import { TaintEffect } from '@gantry/proto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseConstraint } from '../cluster/constraint.ts';
import { amountsOf } from './dimensions.ts';
import { Engine } from './engine.ts';
import { NodeTable } from './node-table.ts';
import type { Demand, SchedulerNode } from './ports.ts';
import { demand, ids, node } from './testing/fixtures.ts';
import { Oracle } from './testing/oracle.ts';

const cells = (max: number) => fc.integer({ min: 0, max });

const anyNode = fc.record({
  cpu: cells(8).map((cores) => cores * 1000),
  memory: cells(16).map((gib) => gib * 2 ** 30),
  io: cells(3).map((rate) => rate * 100e6),
  network: cells(3).map((rate) => rate * 100e6),
  pids: fc.constantFrom(0, 64),
  disk: fc.constantFrom('ssd', 'hdd', undefined),
  zone: fc.constantFrom('a', 'b', undefined),
  taint: fc.constantFrom(undefined, TaintEffect.no_schedule, TaintEffect.prefer_no_schedule, TaintEffect.no_execute),
  unready: fc.constantFrom('', '', '', 'lost'),
  closed: fc.constantFrom('', '', '', 'cordoned'),
});

function build(spec: typeof anyNode extends fc.Arbitrary<infer T> ? T : never, index: number): SchedulerNode {
  const { cpu, memory, io, network, pids, disk, zone, taint, unready, closed } = spec;
  return node(`n${index}`, {
    capacity: amountsOf({ cpuMillis: cpu, memoryBytes: memory, ioBytesPerSecond: io, networkBytesPerSecond: network }, { pids }),
    labels: { ...(disk !== undefined && { disk }), ...(zone !== undefined && { zone }) },
    taints: taint === undefined ? [] : [{ key: 'dedicated', value: 'db', effect: taint }],
    unready,
    closed,
  });
}

const anyDemand: fc.Arbitrary<Demand> = fc
  .record({
    cpu: fc.constantFrom(0, 100, 500, 1500),
    memory: fc.constantFrom(0, 2 ** 28, 2 ** 31),
    io: fc.constantFrom(0, 0, 60e6),
    network: fc.constantFrom(0, 0, 60e6),
    constraint: fc.constantFrom(undefined, 'node.labels.disk == ssd', 'node.labels.zone != b', 'node.name != n1'),
    tolerations: fc.constantFrom([], ['dedicated']),
    preferences: fc.constantFrom([], ['node.labels.zone'], ['node.labels.zone', 'node.labels.disk']),
    affinities: fc.array(
      fc.record({
        service: fc.constantFrom('s1', 's2', 's3'),
        within: fc.constantFrom('node.name', 'node.labels.zone', 'node.labels.disk'),
        apart: fc.boolean(),
        required: fc.boolean(),
      }),
      { maxLength: 2 },
    ),
    maxPerNode: fc.constantFrom(0, 0, 1, 2),
    strategy: fc.constantFrom(undefined, 'binpack' as const, 'spread' as const),
    replicas: fc.integer({ min: 1, max: 6 }),
    pin: fc.constantFrom(undefined, undefined, undefined, { node: 'n0', reason: 'volume data' }),
  })
  .map(({ cpu, memory, io, network, constraint, ...rest }) => ({
    ...rest,
    needs: amountsOf({ cpuMillis: cpu, memoryBytes: memory, ioBytesPerSecond: io, networkBytesPerSecond: network }, { pids: 8 }),
    constraints: constraint === undefined ? [] : [parseConstraint(constraint)],
  }));

const anyStep = fc.record({
  service: fc.constantFrom('s1', 's2', 's3'),
  demand: fc.integer({ min: 0, max: 3 }),
  count: fc.integer({ min: 1, max: 5 }),
  crashed: fc.constantFrom(undefined, 'n0', 'n2'),
  release: fc.option(fc.nat(), { nil: undefined }),
  relabel: fc.option(fc.nat(), { nil: undefined }),
});

describe('engine against the oracle', () => {
  test('takes a node of the same score each time, never over capacity, holds every constraint, misses no place', () => {
    fc.assert(
      fc.property(
        fc.array(anyNode, { minLength: 1, maxLength: 9 }),
        fc.array(anyDemand, { minLength: 4, maxLength: 4 }),
        fc.array(anyStep, { minLength: 1, maxLength: 12 }),
        (specs, demands, steps) => {
          const oracle = new Oracle(specs.map(build), 7);
          const table = new NodeTable(7);
          for (const each of oracle.nodes) table.upsert(each);
          const engine = new Engine(table);
          const alive: { id: string; service: string }[] = [];
          for (const [number, step] of steps.entries()) {
            const wanted = demands[step.demand]!;
            const crashes = new Map(step.crashed === undefined || wanted.pin ? [] : [[step.crashed, 2]]);
            const batch = ids(step.count, `${number}-`);
            const result = engine.place({ service: step.service, demand: wanted, ids: batch, crashes, scores: number % 2 === 0 });
            const strategy = wanted.strategy ?? 'binpack';
            for (const id of batch) {
              const best = oracle.best(step.service, wanted, strategy, crashes);
              const got = result.placed.find((each) => each.id === id)?.node;
              if (!best || got === undefined) {
                expect(got).toBe(best?.name);
                continue;
              }
              const gotNode = oracle.nodes.find(({ name }) => name === got)!;
              const score = (of: SchedulerNode) => oracle.score(of, step.service, wanted, strategy, crashes);
              expect(score(gotNode)).toBeCloseTo(score(best), 10);
              oracle.put(id, got, wanted.needs, step.service);
              alive.push({ id, service: step.service });
            }
            if (step.release !== undefined && alive.length > 0) {
              const [gone] = alive.splice(step.release % alive.length, 1);
              oracle.remove(gone!.id);
              table.release(gone!.service, gone!.id);
            }
            if (step.relabel !== undefined) {
              const at = step.relabel % oracle.nodes.length;
              oracle.nodes[at] = { ...oracle.nodes[at]!, labels: { disk: 'ssd', zone: 'c' } };
              table.upsert(oracle.nodes[at]);
            }
          }
          for (const each of oracle.nodes) {
            for (let dimension = 0; dimension < 6; dimension++) {
              const capacity = each.capacity[dimension]!;
              if (capacity > 0 || dimension < 4) expect(table.used(dimension, table.rowOf(each.name)!)).toBeLessThanOrEqual(capacity);
            }
          }
        },
      ),
      { numRuns: 300, seed: 4 },
    );
  });
});

describe('engine', () => {
  const place = (table: NodeTable, wanted: Demand, count: number) =>
    new Engine(table).place({ service: 's', demand: wanted, ids: ids(count), scores: true });

  test('spreads few replicas over empty nodes and packs the next service beside them', () => {
    const table = new NodeTable(1);
    for (const name of ['a', 'b', 'c']) table.upsert(node(name));
    const first = place(table, demand({ replicas: 3 }), 3);
    expect(new Set(first.placed.map((each) => each.node)).size).toBe(3);
    table.charge('x', 'big', 'b', amountsOf({ cpuMillis: 1000, memoryBytes: 2 ** 30, ioBytesPerSecond: 0, networkBytesPerSecond: 0 }));
    expect(new Engine(table).place({ service: 't', demand: demand(), ids: ['t1'] }).placed[0]!.node).toBe('b');
  });

  test('tells the winner with its parts and the runners-up', () => {
    const table = new NodeTable(1);
    for (const name of ['a', 'b', 'c', 'd']) table.upsert(node(name));
    const [first] = place(table, demand(), 1).placed;
    expect(first!.scores.map((score) => score.node)).toHaveLength(3);
    expect(first!.scores[0]!.node).toBe(first!.node);
    expect(first!.scores[0]!.parts.map((part) => part.name)).toContain('fit');
    expect(first!.scores[0]!.score).toBeGreaterThanOrEqual(first!.scores[1]!.score - 1e-9);
  });

  test('the same seed gives the same nodes whatever the order they joined in', () => {
    const names = Array.from({ length: 40 }, (_, index) => `n${index}`);
    const run = (order: string[]) => {
      const table = new NodeTable(3);
      for (const name of order) table.upsert(node(name));
      return place(table, demand({ replicas: 20 }), 20).placed.map((each) => each.node);
    };
    expect(run(names)).toEqual(run(names.toReversed()));
  });

  test('what is charged to a node that left counts again when it comes back', () => {
    const table = new NodeTable();
    table.upsert(node('a'));
    table.charge('s', 'c1', 'a', amountsOf({ cpuMillis: 4000, memoryBytes: 0, ioBytesPerSecond: 0, networkBytesPerSecond: 0 }));
    table.remove('a');
    expect(place(table, demand(), 1).refused).toEqual(['c1']);
    table.upsert(node('a'));
    expect(place(table, demand(), 1).refused).toEqual(['c1']);
    table.release('s', 'c1');
    expect(place(table, demand(), 1).placed).toHaveLength(1);
  });
});
