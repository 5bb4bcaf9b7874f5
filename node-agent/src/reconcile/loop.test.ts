import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code, GantryError } from '@gantry/common';
import {
  AssignmentDesired,
  ContainerHealth,
  ContainerState,
  Limits,
  RestartPolicy,
  RestartPolicyCondition,
  ServiceSpecDisconnect,
  ServiceSpecMode,
} from '@gantry/proto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Spec } from '../runtime/oci.ts';
import { anAssignment, anImage, FakeNode } from './fake-node.ts';

let node: FakeNode;

beforeEach(() => {
  node = new FakeNode();
});

afterEach(async () => {
  await node.close();
});

test('an assigned container is started with an address of the node and told as running', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  expect(node.runtime.running).toEqual(['a']);
  expect(node.told('a')).toEqual(['preparing', 'starting', 'running']);
  expect(node.last('a')).toMatchObject({ node: 'n1', ready: true, address: '10.64.1.2', imageDigest: 'sha256:1', restarts: 0 });
  const spec = JSON.parse(readFileSync(join(node.runDir, 'containers/a/config.json'), 'utf8')) as Spec;
  expect(spec.linux.namespaces).toContainEqual({ type: 'network', path: '/fake/netns/a' });
});

test('nothing starts before the node has a subnet', async () => {
  const { nodeNetwork } = node;
  node.nodeNetwork = undefined;
  await node.start();
  await node.want(anAssignment('a'));
  expect(node.runtime.log).toEqual([]);
  node.nodeNetwork = nodeNetwork;
  await node.network.start(nodeNetwork!);
  await node.want();
  expect(node.runtime.running).toEqual(['a']);
});

test('a container that fails is started again after its back-off, which doubles, and keeps its address', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  node.runtime.finish('a', { exitCode: 3 });
  await node.settle();
  expect(node.last('a')).toMatchObject({ state: ContainerState.failed, reason: 'exit code 3', exitCode: 3, ready: false });
  await node.advance(999);
  expect(node.runtime.running).toEqual([]);
  await node.advance(1);
  expect(node.last('a')).toMatchObject({
    state: ContainerState.running,
    restarts: 1,
    lastReason: 'exit code 3',
    lastExitCode: 3,
    address: '10.64.1.2',
  });
  node.runtime.finish('a', { exitCode: 3 });
  await node.advance(1999);
  expect(node.runtime.running).toEqual([]);
  await node.advance(1);
  expect(node.last('a')).toMatchObject({ state: ContainerState.running, restarts: 2 });
});

test('a restarted container has a fresh writable layer and its old log', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  const data = join(node.dataDir, 'containers/a');
  writeFileSync(join(data, 'upper/written'), 'x');
  writeFileSync(join(data, 'state/log'), 'a line');
  node.runtime.finish('a', { exitCode: 1 });
  await node.advance(1000);
  expect(node.runtime.running).toEqual(['a']);
  expect(existsSync(join(data, 'upper'))).toBe(true);
  expect(existsSync(join(data, 'upper/written'))).toBe(false);
  expect(existsSync(join(data, 'state/log'))).toBe(true);
  await expect.poll(() => readdirSync(data).sort()).toEqual(['state', 'upper', 'work']);
});

test('a run longer than the window forgets the failures before it', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  node.runtime.finish('a', { exitCode: 1 });
  await node.advance(1000);
  node.runtime.finish('a', { exitCode: 1, startedAtUs: 0, exitedAtUs: 600_000_000 });
  await node.advance(1000);
  expect(node.last('a')).toMatchObject({ state: ContainerState.running, restarts: 2 });
});

test.each([
  ['any', RestartPolicyCondition.any, 0, ServiceSpecMode.replicated, 'running'],
  ['on-failure after success', RestartPolicyCondition.on_failure, 0, ServiceSpecMode.replicated, 'complete'],
  ['on-failure after failure', RestartPolicyCondition.on_failure, 1, ServiceSpecMode.replicated, 'running'],
  ['none after success', RestartPolicyCondition.none, 0, ServiceSpecMode.replicated, 'complete'],
  ['none after failure', RestartPolicyCondition.none, 1, ServiceSpecMode.replicated, 'failed'],
  ['a job after success', RestartPolicyCondition.any, 0, ServiceSpecMode.replicated_job, 'complete'],
] as const)('restart policy %s', async (_name, condition, exitCode, mode, expected) => {
  await node.start();
  await node.want(anAssignment('a', {}, { mode, restart: RestartPolicy.create({ condition }) }));
  node.runtime.finish('a', { exitCode });
  await node.advance(1000);
  expect(node.told('a').at(-1)).toBe(expected);
  expect(node.last('a').exitCode).toBe(expected === 'running' ? 0 : exitCode);
});

test('a container is given up after the attempts that its policy allows', async () => {
  await node.start();
  await node.want(anAssignment('a', {}, { restart: RestartPolicy.create({ maxAttempts: 2 }) }));
  for (let run = 0; run < 3; run++) {
    node.runtime.finish('a', { exitCode: 1 });
    await node.advance(10_000);
  }
  expect(node.last('a')).toMatchObject({ state: ContainerState.failed, reason: 'exit code 1; given up after 2 restarts', restarts: 2 });
  await node.advance(600_000);
  expect(node.runtime.log.filter((line) => line.startsWith('start'))).toHaveLength(3);
});

test('a stop sends the signal of the service, then kills when the grace is over, then removes everything', async () => {
  await node.start();
  const assignment = anAssignment('a', {}, {}, { stopSignal: 'SIGINT', stopGraceUs: 2_000_000 });
  await node.want(assignment);
  node.runtime.obeys = false;
  await node.want({ ...assignment, desired: AssignmentDesired.stop, reason: 'scaled down' });
  expect(node.runtime.log.at(-1)).toBe('signal a 2');
  await node.advance(1999);
  expect(node.runtime.running).toEqual(['a']);
  await node.advance(1);
  expect(node.runtime.log.at(-1)).toBe('kill a');
  expect(node.last('a')).toMatchObject({ state: ContainerState.complete, reason: 'scaled down', exitCode: 137 });
  expect(node.removed).toEqual(['a']);
  expect(node.network.containers.size).toBe(0);
  await node.unwant('a');
  expect(node.reconciler.records.size).toBe(0);
});

test('a container that outlives its kill is ended together with its monitor', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  node.runtime.obeys = false;
  node.runtime.mortal = false;
  await node.want(anAssignment('a', { desired: AssignmentDesired.stop }));
  await node.advance(10_000);
  await node.advance(9999);
  expect(node.runtime.log.slice(-1)).toEqual(['kill a']);
  await node.advance(1);
  expect(node.runtime.log.slice(-1)).toEqual(['abandon a']);
  expect(node.removed).toEqual(['a']);
});

test('a container that nobody asks for is stopped once the whole truth is known, not before', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  node.desired.assignments.clear();
  node.desired.whole = false;
  await node.restartAgent();
  await node.advance(60_000);
  expect(node.runtime.running).toEqual(['a']);
  node.desired.whole = true;
  await node.want();
  expect(node.runtime.running).toEqual([]);
  expect(node.removed).toEqual(['a']);
});

test('without the whole truth a container found again is restarted by its own record', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  node.desired.assignments.clear();
  node.desired.whole = false;
  await node.restartAgent();
  node.runtime.finish('a', { exitCode: 1 });
  await node.advance(1000);
  expect(node.runtime.running).toEqual(['a']);
  expect(node.last('a').restarts).toBe(1);
});

test('a new agent finds its containers with the same pids and starts none anew', async () => {
  await node.start();
  await node.want(anAssignment('a'), anAssignment('b'));
  const pids = [node.last('a').pid, node.last('b').pid];
  await node.restartAgent();
  expect(node.runtime.log).toEqual([]);
  expect([node.last('a').pid, node.last('b').pid]).toEqual(pids);
  expect(node.network.containers.get('b')?.address).toBe('10.64.1.3');
  await node.want(anAssignment('c'));
  expect(node.last('c').address).toBe('10.64.1.4');
});

test('what ended while the agent was away is told and restarted', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  node.runtime.close();
  node.runtime.finish('a', { exitCode: 139, signal: 11 });
  await node.restartAgent();
  expect(node.told('a')).toEqual(['failed']);
  expect(node.last('a')).toMatchObject({ exitCode: 139, signal: 11, reason: 'killed by signal 11 (exit code 139)' });
  await node.advance(1000);
  expect(node.last('a')).toMatchObject({ state: ContainerState.running, restarts: 1 });
});

test('a container that the node lost at a reboot is started again', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  node.runtime.world.clear();
  rmSync(node.runDir, { recursive: true });
  await node.restartAgent();
  expect(node.runtime.running).toEqual(['a']);
});

test('a job that was done before a reboot is not run again', async () => {
  await node.start();
  await node.want(anAssignment('a', {}, { mode: ServiceSpecMode.replicated_job }));
  node.runtime.finish('a', { exitCode: 0 });
  await node.settle();
  rmSync(node.runDir, { recursive: true });
  await node.restartAgent();
  await node.advance(60_000);
  expect(node.told('a')).toEqual(['complete']);
  expect(node.runtime.log).toEqual([]);
});

test('a container whose record is cut short is adopted all the same', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  truncateSync(join(node.runDir, 'containers/a/record.json'), 20);
  await node.restartAgent();
  expect(node.runtime.log.filter((line) => line.startsWith('start'))).toEqual([]);
  expect(node.told('a')).toEqual(['running']);
});

test('a folder of which nothing is known is cleaned away', async () => {
  mkdirSync(join(node.dataDir, 'containers/stray/upper'), { recursive: true });
  await node.start();
  expect(node.reconciler.records.size).toBe(0);
  expect(node.told('stray')).toEqual([]);
});

test('a back-off goes on over a restart of the agent', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  node.runtime.finish('a', { exitCode: 1 });
  await node.settle();
  await node.restartAgent();
  expect(node.told('a')).toEqual(['failed']);
  expect(node.runtime.running).toEqual([]);
  await node.advance(1000);
  expect(node.last('a')).toMatchObject({ state: ContainerState.running, restarts: 1 });
});

test('an unhealthy container is stopped and started again, with the reason', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  node.prober.say('a', { health: ContainerHealth.unhealthy, ready: false, reason: 'http 500' });
  await node.settle();
  expect(node.runtime.log).toContain('signal a 15');
  expect(node.last('a')).toMatchObject({ state: ContainerState.failed, reason: 'http 500' });
  await node.advance(1000);
  expect(node.last('a')).toMatchObject({ state: ContainerState.running, restarts: 1, lastReason: 'http 500' });
  expect(node.prober.watched.has('a')).toBe(true);
});

test('readiness is told without touching the container', async () => {
  await node.start();
  await node.want(anAssignment('a'));
  node.prober.say('a', { ready: false, reason: 'http 503' });
  await node.settle();
  expect(node.last('a')).toMatchObject({ state: ContainerState.running, ready: false, reason: 'http 503' });
  expect(node.runtime.log).toEqual(['start a']);
});

test('a stop calls off a start that waits for its image', async () => {
  let aborted = false;
  node.ensureImage = (_reference, { signal }) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        aborted = true;
        reject(signal.reason as Error);
      });
    });
  await node.start();
  await node.want(anAssignment('a'));
  await node.want(anAssignment('a', { desired: AssignmentDesired.stop }));
  expect(aborted).toBe(true);
  expect(node.runtime.log).toEqual([]);
  expect(node.told('a').at(-1)).toBe('complete');
  expect(node.removed).toEqual(['a']);
});

test('a stop that comes while the process is being made ends the process', async () => {
  let release: () => void = () => {};
  node.runtime.onStart = () =>
    new Promise((resolve) => {
      release = () => resolve(undefined);
    });
  await node.start();
  await node.want(anAssignment('a'));
  await node.want(anAssignment('a', { desired: AssignmentDesired.stop }));
  release();
  await node.settle();
  expect(node.runtime.log).toEqual(['start a', 'signal a 15']);
  expect(node.removed).toEqual(['a']);
});

test('an image that cannot be had is tried again, even by a container that never restarts', async () => {
  let tries = 0;
  node.ensureImage = async (reference) => {
    if (++tries < 3) throw new GantryError(Code.unavailable, 'the registry does not answer');
    return anImage(reference);
  };
  await node.start();
  await node.want(anAssignment('a', {}, { restart: RestartPolicy.create({ condition: RestartPolicyCondition.none }) }));
  expect(node.last('a')).toMatchObject({ state: ContainerState.failed, reason: 'the registry does not answer' });
  await node.advance(3000);
  expect(node.last('a')).toMatchObject({ state: ContainerState.running, restarts: 0 });
});

test('what this node can never run is rejected', async () => {
  node.volumeFailure = new GantryError(Code.permissionDenied, 'cannot mount "/etc": not allowed');
  await node.start();
  await node.want(anAssignment('a'));
  expect(node.last('a')).toMatchObject({ state: ContainerState.rejected, reason: 'cannot mount "/etc": not allowed' });
  await node.advance(3_600_000);
  expect(node.runtime.log).toEqual([]);
});

test('a single-writer container fences itself when the control plane is out of reach, others run on', async () => {
  await node.start();
  const fencing = anAssignment('a', {}, { disconnect: ServiceSpecDisconnect.stop });
  await node.want(fencing, anAssignment('b'));
  node.runtime.obeys = false;
  node.link = 'cutOff';
  await node.want();
  expect(node.runtime.log.at(-1)).toBe('signal a 15');
  await node.advance(400);
  expect(node.runtime.running).toEqual(['b']);
  await node.advance(60_000);
  expect(node.runtime.running).toEqual(['b']);
  node.link = 'connected';
  await node.want();
  expect(node.runtime.running.sort()).toEqual(['a', 'b']);
  expect(node.last('a').restarts).toBe(1);
});

test('a single-writer container that was fenced is not started by an agent without contact', async () => {
  node.link = 'unknown';
  await node.start();
  await node.want(anAssignment('a', {}, { disconnect: ServiceSpecDisconnect.stop }), anAssignment('b'));
  expect(node.runtime.running).toEqual(['b']);
});

test('changed limits are applied in place', async () => {
  await node.start();
  await node.want(anAssignment('a', {}, { limits: Limits.create({ memoryBytes: 1000 }) }));
  await node.want(anAssignment('a', {}, { limits: Limits.create({ memoryBytes: 2000, networkReceiveBytesPerSecond: 7 }) }));
  expect(node.runtime.log.at(-1)).toMatch(/^update a .*"memory":\{"limit":2000\}/);
  expect(node.network.containers.get('a')?.limit).toMatchObject({ receiveBytesPerSecond: 7 });
  await node.restartAgent();
  expect(node.runtime.log).toEqual([]);
});

test('a stop for a container that was never here is answered at once', async () => {
  await node.start();
  await node.want(anAssignment('a', { desired: AssignmentDesired.stop }));
  expect(node.removed).toEqual(['a']);
  await node.advance(60_000);
  expect(node.removed).toEqual(['a']);
});

test.each(['..', '', 'a/b', 'a\nb', 'x'.repeat(5000)])('a container id that could be a path (%j) harms nobody', async (id) => {
  await node.start();
  await node.want(anAssignment(id), anAssignment('b'));
  expect(node.runtime.running).toEqual(['b']);
  expect(node.last(id).state).toBe(ContainerState.rejected);
  await node.unwant(id);
  expect(node.runtime.running).toEqual(['b']);
});

test('starts are carried out eight at a time', async () => {
  node.runtime.onStart = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return undefined;
  };
  await node.start();
  await node.want(...Array.from({ length: 40 }, (_, index) => anAssignment(`c${index}`)));
  for (let round = 0; round < 30; round++) await node.settle();
  expect(node.runtime.running).toHaveLength(40);
  expect(node.runtime.mostStarting).toBe(8);
});
