import { Resources, Usage } from '@gantry/proto';
import { expect, test } from 'vitest';
import { EstimateTable, measuredUse } from './estimate-table.ts';

const mib = 2 ** 20;
const reservation = Resources.create({ cpuMillis: 1000, memoryBytes: 512 * mib });
const service = 'default/shop/web';
const hourUs = 3600e6;

/** Reports of 5 s, `hours` long. */
function report(table: EstimateTable, id: string, options: { revision?: number; cpu: number; fromUs?: number; hours: number }): number {
  const { revision = 1, cpu, fromUs = 0, hours } = options;
  const usage = Usage.create({ cpuMillis: cpu, memoryBytes: 64 * mib, memoryPeakBytes: 64 * mib });
  let at = fromUs;
  for (; at <= fromUs + hours * hourUs; at += 5e6) table.record({ id, service, revision }, usage, at);
  return at;
}
const cpuOf = (table: EstimateTable, id: string, revision = 1) => table.expected({ id, service, revision }, reservation).cpuMillis;

test('nothing known: the reservation', () => {
  expect(new EstimateTable().expected({ id: 'a', service, revision: 1 }, reservation)).toEqual(reservation);
});

test('a new replica starts from what the others of its revision use, not from the reservation', () => {
  const table = new EstimateTable();
  const at = report(table, 'a', { cpu: 100, hours: 12 });
  expect(cpuOf(table, 'b')).toBeLessThan(150);
  report(table, 'b', { cpu: 20, fromUs: at, hours: 0.01 });
  expect(cpuOf(table, 'b')).toBeGreaterThanOrEqual(115);
  expect(cpuOf(table, 'b')).toBeLessThan(150);
});

test('a replica that grows is known at once, whatever the others use', () => {
  const table = new EstimateTable();
  const at = report(table, 'a', { cpu: 100, hours: 12 });
  report(table, 'b', { cpu: 3000, fromUs: at, hours: 0 });
  expect(cpuOf(table, 'b')).toBe(3450);
  expect(cpuOf(table, 'a')).toBeLessThan(150);
});

test('a changed revision starts from the one before and soon goes by its own', () => {
  const table = new EstimateTable();
  const at = report(table, 'a', { cpu: 400, hours: 24 });
  expect(cpuOf(table, 'b', 2)).toBeLessThan(600);
  report(table, 'b', { revision: 2, cpu: 50, fromUs: at, hours: 0 });
  expect(cpuOf(table, 'b', 2)).toBeLessThan(600);
  report(table, 'b', { revision: 2, cpu: 50, fromUs: at + 5e6, hours: 6 });
  expect(cpuOf(table, 'c', 2)).toBeLessThan(120);
  expect(cpuOf(table, 'c', 1)).toBeGreaterThanOrEqual(460);
});

test('a removed container is forgotten, its revision remembers', () => {
  const table = new EstimateTable();
  report(table, 'a', { cpu: 100, hours: 12 });
  table.forget('a');
  expect(table.size).toBe(0);
  expect(cpuOf(table, 'a')).toBeLessThan(150);
});

test('it holds no more containers, services and revisions than it may', () => {
  const table = new EstimateTable({ containers: 2, services: 1 });
  for (const id of ['a', 'b', 'c']) report(table, id, { cpu: 3000, hours: 0 });
  expect(table.size).toBe(2);
  expect(cpuOf(table, 'c')).toBe(3450);
  expect(cpuOf(table, 'a')).toBe(1000);
  for (const revision of [2, 3, 1]) report(table, `r${revision}`, { revision, cpu: 200, hours: 12, fromUs: revision * 13 * hourUs });
  expect(table.size).toBe(2);
  table.record({ id: 'x', service: 'default/shop/other', revision: 1 }, Usage.create(), 0);
  expect(cpuOf(table, 'unknown', 3)).toBe(1000);
});

test('a peak counts when it rose since the report before', () => {
  const usage = Usage.create({ memoryBytes: 5, memoryPeakBytes: 9, ioReadBytesPerSecond: 1, ioWriteBytesPerSecond: 2 });
  expect(measuredUse(usage, 8)).toMatchObject({ memoryBytes: 9, ioBytesPerSecond: 3 });
  expect(measuredUse(usage, 9)).toMatchObject({ memoryBytes: 5 });
});
