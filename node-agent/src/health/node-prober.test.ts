import { ManualClock } from '@gantry/common';
import { ContainerHealth, Probe, ProbeType } from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Connector } from './connector.ts';
import { createProber } from './node-prober.ts';
import type { Condition, Prober } from './prober.ts';

let clock: ManualClock;
let prober: Prober;
let changes: [string, Condition][];
let answers: boolean;
let calls: string[];
let running: number;
let mostRunning: number;

const connector: Connector = {
  tcp: async (address, port) => answer(`tcp ${address}:${port}`),
  http: async (address, port, path) => answer(`http ${address}:${port}${path}`),
};

async function answer(what: string): Promise<void> {
  calls.push(what);
  running++;
  mostRunning = Math.max(mostRunning, running);
  await new Promise<void>((resolve) => setImmediate(resolve));
  running--;
  if (!answers) throw new Error('connection refused');
}

const second = 1_000_000;
const http = Probe.create({ type: ProbeType.http, port: 80, path: '/up', intervalUs: second, timeoutUs: second, retries: 2 });
const tcp = Probe.create({ type: ProbeType.tcp, port: 90, intervalUs: second, timeoutUs: second, retries: 2 });
const exec = Probe.create({ type: ProbeType.exec, command: ['check'], intervalUs: second, timeoutUs: second, retries: 2 });
const target = { address: '10.64.0.7', exec: async () => 0 };

beforeEach(() => {
  clock = new ManualClock();
  [changes, calls, answers, running, mostRunning] = [[], [], true, 0, 0];
  prober = createProber({ clock, connector, random: () => 0.5, concurrency: 4 });
  prober.onChange((id, condition) => changes.push([id, condition]));
});

afterEach(() => prober.close());

describe('a prober', () => {
  test('calls a container without probes ready at once and asks nothing', async () => {
    expect(prober.watch('a', { health: null, readiness: Probe.create() }, target)).toEqual({
      health: ContainerHealth.none,
      ready: true,
      reason: '',
    });
    await clock.advance(60_000);
    expect([calls, changes]).toEqual([[], []]);
  });

  test('tells health and readiness once each when they come, and nothing while they stay', async () => {
    expect(prober.watch('a', { health: http, readiness: null }, target).health).toBe(ContainerHealth.starting_up);
    await clock.advance(10_000);
    expect(changes).toEqual([['a', { health: ContainerHealth.healthy, ready: true, reason: '' }]]);
    expect(calls.length).toBeGreaterThanOrEqual(9);
    expect(calls.length).toBeLessThanOrEqual(12);
  });

  test('makes a container unhealthy and not ready after its retries, with the reason, and well again', async () => {
    prober.watch('a', { health: http, readiness: null }, target);
    await clock.advance(2000);
    answers = false;
    await clock.advance(3000);
    expect(changes.at(-1)).toEqual(['a', { health: ContainerHealth.unhealthy, ready: false, reason: 'http 80/up: connection refused' }]);
    answers = true;
    await clock.advance(1100);
    expect(changes.at(-1)).toEqual(['a', { health: ContainerHealth.healthy, ready: true, reason: '' }]);
    expect(changes).toHaveLength(3);
  });

  test('lets readiness alone gate traffic where there is one', async () => {
    prober.watch('a', { health: http, readiness: tcp }, target);
    await clock.advance(1000);
    expect(prober.condition('a')).toEqual({ health: ContainerHealth.healthy, ready: true, reason: '' });
    expect(new Set(calls)).toEqual(new Set(['http 10.64.0.7:80/up', 'tcp 10.64.0.7:90']));
  });

  test('counts an exec by its exit code, and one that hangs by its timeout', async () => {
    let exitCode: number | undefined = 0;
    const hanging = { address: '', exec: () => (exitCode === undefined ? new Promise<number>(() => {}) : Promise.resolve(exitCode)) };
    prober.watch('a', { health: exec, readiness: null }, hanging);
    await clock.advance(1500);
    expect(prober.condition('a')?.health).toBe(ContainerHealth.healthy);
    exitCode = 3;
    await clock.advance(2500);
    expect(prober.condition('a')).toMatchObject({ health: ContainerHealth.unhealthy, reason: 'exec check: exit code 3' });
    exitCode = undefined;
    await clock.advance(2500);
    expect(prober.condition('a')?.reason).toBe('exec check: no answer within 1000 ms');
  });

  test('keeps the condition that a container was found in until probes say otherwise', async () => {
    const found = { health: ContainerHealth.healthy, ready: true, reason: '' };
    expect(prober.watch('a', { health: http, readiness: tcp }, target, found)).toEqual(found);
    await clock.advance(5000);
    expect(changes).toEqual([]);
    answers = false;
    await clock.advance(5000);
    expect(prober.condition('a')).toMatchObject({ health: ContainerHealth.unhealthy, ready: false });
  });

  test('says nothing more of a container that is not watched any more, even from a probe on its way', async () => {
    prober.watch('a', { health: http, readiness: null }, target);
    await clock.advance(100);
    changes = [];
    answers = false;
    prober.unwatch('a');
    await clock.advance(60_000);
    expect(changes).toEqual([]);
    expect(prober.condition('a')).toBeUndefined();
  });

  test('runs no more probes at the same time than it may, and leaves none out', async () => {
    for (let index = 0; index < 50; index++) prober.watch(`c${index}`, { health: http, readiness: null }, target);
    await clock.advance(100);
    for (let round = 0; round < 50; round++) await new Promise((resolve) => setImmediate(resolve));
    expect(mostRunning).toBe(4);
    expect(changes.map(([id]) => id).toSorted()).toEqual(Array.from({ length: 50 }, (_, index) => `c${index}`).toSorted());
  });

  test('needs one timer however many containers it watches', () => {
    for (let index = 0; index < 100; index++) prober.watch(`c${index}`, { health: http, readiness: tcp }, target);
    expect(clock.pending).toBe(1);
  });
});
