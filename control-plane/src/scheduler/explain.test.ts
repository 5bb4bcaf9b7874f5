import { TaintEffect } from '@gantry/proto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseConstraint } from '../cluster/constraint.ts';
import { amountsOf } from './dimensions.ts';
import { Engine } from './engine.ts';
import { explainRefusal } from './explain.ts';
import { NodeTable } from './node-table.ts';
import type { Demand } from './ports.ts';
import { demand, ids, node } from './testing/fixtures.ts';

function refusal(table: NodeTable, wanted: Demand, missing = 1) {
  return explainRefusal(table, { service: 's', demand: wanted, missing, sinceUs: 5, strategy: 'binpack' });
}

const cpu = (millis: number) => amountsOf({ cpuMillis: millis, memoryBytes: 2 ** 26, ioBytesPerSecond: 0, networkBytesPerSecond: 0 });

describe('explain', () => {
  test('names dimension, amounts, nearest nodes and a reservation that fits', () => {
    const table = new NodeTable();
    for (const name of ['n1', 'n2', 'n3']) table.upsert(node(name));
    table.charge('other', 'x', 'n1', cpu(600));
    table.charge('other', 'y', 'n2', cpu(1000));
    table.charge('other', 'z', 'n3', cpu(1200));
    const told = refusal(table, demand({ needs: cpu(64_000) }));
    expect(told.message).toBe('no node has cpu 64 free: 3 nodes, most free n1 with 3400m');
    expect(told.funnel.map(({ filter, passed, rejected }) => [filter, passed, rejected])).toEqual([
      ['ready', 3, 0],
      ['available', 3, 0],
      ['taints', 3, 0],
      ['cpu', 0, 3],
    ]);
    expect(told.nearest.map(({ node, shortfalls }) => [node, shortfalls[0]!.missing])).toEqual([
      ['n1', 60_600],
      ['n2', 61_000],
      ['n3', 61_200],
    ]);
    expect(told.suggestions[0]).toBe('lower cpu to 3400m');
    expect(told.suggestions).toContain('add 1 node with cpu 64, memory 64Mi');
  });

  test('names the constraint that no node passes, and what the nodes have instead', () => {
    const table = new NodeTable();
    table.upsert(node('n1', { labels: { disk: 'hdd' } }));
    table.upsert(node('n2', { unready: 'lost', labels: { disk: 'ssd' } }));
    const told = refusal(table, demand({ constraints: [parseConstraint('node.labels.disk == ssd')] }));
    expect(told.message).toBe('no node passes "node.labels.disk == ssd": 2 nodes, 1 of them got that far; n1: node.labels.disk is hdd');
    expect(told.suggestions).toEqual(['remove the constraint "node.labels.disk == ssd"', 'add 1 node like n2']);
    table.remove('n2');
    expect(refusal(table, demand({ constraints: [parseConstraint('node.labels.disk == ssd')] })).suggestions).toContain(
      'add 1 node with cpu 500m, memory 256Mi, node.labels.disk == ssd',
    );
  });

  test('offers the taint to tolerate, the node to uncordon, the number that fits, the bound to raise', () => {
    const table = new NodeTable();
    table.upsert(node('n1', { closed: 'cordoned' }));
    table.upsert(node('n2', { taints: [{ key: 'dedicated', value: 'db', effect: TaintEffect.no_schedule }] }));
    table.upsert(node('n3'));
    const told = refusal(table, demand({ maxPerNode: 1 }), 2);
    expect(told.suggestions).toContain('uncordon node n1');
    expect(told.suggestions).toContain('raise max_replicas_per_node to 2');
    expect(told.suggestions).toContain('scale to 1');
  });

  test('says where the volume is when its node cannot take the container', () => {
    const table = new NodeTable();
    table.upsert(node('n1', { unready: 'lost' }));
    table.upsert(node('n2'));
    expect(refusal(table, demand({ pin: { node: 'n1', reason: 'volume data' } })).message).toBe(
      'volume data is on n1, which does not pass "ready node": lost',
    );
  });

  test('every suggestion to lower, scale, tolerate or drop places all when followed; the table is left as it was', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ cpu: fc.integer({ min: 0, max: 4000 }), memory: fc.integer({ min: 0, max: 8192 }), ssd: fc.boolean() }), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.integer({ min: 1, max: 6000 }),
        fc.integer({ min: 1, max: 10_000 }),
        fc.integer({ min: 1, max: 4 }),
        (nodes, millis, mebibytes, count) => {
          const table = new NodeTable();
          for (const [index, { cpu: used, memory, ssd }] of nodes.entries()) {
            table.upsert(node(`n${index}`, { labels: { disk: ssd ? 'ssd' : 'hdd' } }));
            table.charge(
              'x',
              `x${index}`,
              `n${index}`,
              amountsOf({ cpuMillis: used, memoryBytes: memory * 2 ** 20, ioBytesPerSecond: 0, networkBytesPerSecond: 0 }),
            );
          }
          const wanted = demand({
            needs: amountsOf({ cpuMillis: millis, memoryBytes: mebibytes * 2 ** 20, ioBytesPerSecond: 0, networkBytesPerSecond: 0 }),
            constraints: [parseConstraint('node.labels.disk == ssd')],
          });
          const { placed, refused } = new Engine(table).place({ service: 's', demand: wanted, ids: ids(count) });
          if (refused.length === 0) return;
          const amounts = () =>
            [...table.nodes()].map(({ name }) => [name, ...[0, 1, 2, 3].map((dimension) => table.used(dimension, table.rowOf(name)!))]);
          const before = amounts();
          const told = refusal(table, wanted, refused.length);
          expect(amounts()).toEqual(before);
          expect(told.suggestions.length).toBeGreaterThan(0);
          for (const text of told.suggestions) {
            const { changed, total } = follow(text, wanted, placed.length + refused.length);
            if (!changed) continue;
            const trial = table.clone();
            const result = new Engine(trial).place({ service: 's', demand: changed, ids: ids(total - placed.length, 't') });
            expect([text, result.refused]).toEqual([text, []]);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});

/** Does what the suggestion says; no demand for those that change nodes. */
function follow(text: string, wanted: Demand, total: number): { changed: Demand | undefined; total: number } {
  const scaled = /^scale to (\d+)$/.exec(text);
  if (scaled) return { changed: wanted, total: Number(scaled[1]) };
  if (text.startsWith('remove the constraint')) return { changed: { ...wanted, constraints: [] }, total };
  if (!text.startsWith('lower')) return { changed: undefined, total };
  const needs = wanted.needs.slice();
  for (const [, name, amount, unit] of text.matchAll(/(cpu|memory) to (\d+)(m|Mi)/g)) {
    needs[name === 'cpu' ? 0 : 1] = Number(amount) * (unit === 'Mi' ? 2 ** 20 : 1);
  }
  return { changed: { ...wanted, needs }, total };
}
