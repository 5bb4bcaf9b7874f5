import type { ManualClock } from '@gantry/common';
import { ContainerState, Gateway as GatewayRecord, Machine } from '@gantry/proto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { keys } from '../store/keys.ts';
import type { FakeAgent } from './testing/fake-agent.ts';
import { type Harness, startHarness, web } from './testing/harness.ts';

let cluster: Harness;
beforeEach(async () => {
  cluster = await startHarness({ nodes: ['n1', 'n2', 'n3', 'n4'] });
});
afterEach(() => cluster.close());

/** Seconds pass in which only some agents beat. */
async function pass(ms: number, ...beating: FakeAgent[]): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    await Promise.all(beating.map((agent) => agent.beat()));
    await cluster.clock.advance(Math.min(500, left));
    await cluster.settled();
  }
}

const lostNodes = () => [...cluster.view.machines.values()].filter((entry) => entry.value.lostAt > 0).map((entry) => entry.value.name);

test('a node that falls silent is lost after 3.5 s; its containers serve no more; it is back when its agent is', async () => {
  const [first, second, third] = await Promise.all(['n1', 'n2', 'n3'].map((node) => cluster.connected(node)));
  await cluster.assign({ id: 'c1', node: 'n1' });
  first!.report({ id: 'c1', state: ContainerState.running, ready: true, address: '10.64.0.2' });
  await second!.next((message) => message.endpoints?.services[0]?.endpoints.length);
  second!.clear();
  await pass(3000, second!, third!);
  expect(lostNodes()).toEqual([]);
  await pass(1000, second!, third!);
  expect(lostNodes()).toEqual(['n1']);
  expect(await first!.ended).toBeUndefined();
  expect(first!.received.at(-1)?.goodbye?.reason).toContain('no heartbeat');
  expect(cluster.events.map((event) => event.type)).toContain('NodeLost');
  await second!.next((message) =>
    message.endpoints?.services.some((service) => service.key?.service === web.service && service.endpoints.length === 0),
  );
  await cluster.connected('n1');
  expect(lostNodes()).toEqual([]);
  expect(cluster.events.at(-1)?.type).toBe('NodeReturned');
});

test('an agent that dies and comes back within the time is never lost', async () => {
  const [first, ...others] = await Promise.all(['n1', 'n2', 'n3'].map((node) => cluster.connected(node)));
  first!.kill();
  await first!.ended;
  await pass(3000, ...others);
  const again = await cluster.connected('n1', { epoch: 2 });
  await pass(4000, again, ...others);
  expect(lostNodes()).toEqual([]);
  expect(cluster.events.filter((event) => event.type !== 'NodeJoined')).toEqual([]);
});

test('when most nodes fall silent together the brake holds, says so once, and lets go when they are back', async () => {
  const agents = await Promise.all(['n1', 'n2', 'n3', 'n4'].map((node) => cluster.connected(node)));
  await pass(8000, agents[3]!);
  expect(lostNodes()).toEqual([]);
  expect(cluster.events.filter((event) => event.type === 'EvictionBraked')).toHaveLength(1);
  expect((await cluster.machine('n1'))?.gateway).toBe('');
  const back = await Promise.all(['n1', 'n2'].map((node) => cluster.connected(node)));
  await pass(1000, agents[3]!, ...back);
  // one of four is still silent: that one is lost now
  expect(lostNodes()).toEqual(['n3']);
});

test('when this process stood still nobody is lost for it', async () => {
  const [first, ...others] = await Promise.all(['n1', 'n2', 'n3'].map((node) => cluster.connected(node)));
  await pass(1000, first!, ...others);
  // a clock that leaps is what a thawed process sees: timers fire long after they were due
  leap(cluster.clock, 60_000);
  await cluster.clock.advance(0);
  await pass(3000, ...others);
  expect(lostNodes()).toEqual([]);
  await pass(2000, ...others);
  expect(lostNodes()).toEqual(['n1']);
});

test('nodes of a gateway that has died have their full time to come to another, from its death on', async () => {
  const other = GatewayRecord.create({ id: 'g2', address: 'g2:7400' });
  await cluster.put(
    { kind: 'put', key: keys.gateway('g2'), value: GatewayRecord.encode(other) },
    ...['n2', 'n3'].map((name) => ({
      kind: 'put' as const,
      key: keys.machine(name),
      value: Machine.encode(Machine.create({ name, gateway: 'g2', session: 4, epoch: 1, subnet: '10.64.9.0/24' })),
    })),
  );
  const agents = await Promise.all(['n1', 'n4'].map((node) => cluster.connected(node)));
  await pass(10_000, ...agents);
  expect(lostNodes()).toEqual([]);
  await cluster.put({ kind: 'delete', key: keys.gateway('g2') });
  await cluster.settled();
  await pass(3000, ...agents);
  expect(lostNodes()).toEqual([]);
  const moved = await cluster.connected('n2');
  await pass(1000, moved, ...agents);
  expect(lostNodes()).toEqual(['n3']);
});

test('a node whose session another gateway has taken over is let go here and judged there', async () => {
  const agent = await cluster.connected('n1');
  const others = await Promise.all(['n2', 'n3', 'n4'].map((node) => cluster.connected(node)));
  const taken = { ...(await cluster.machine('n1'))!, gateway: 'g2', session: 2 };
  await cluster.put(
    { kind: 'put', key: keys.gateway('g2'), value: GatewayRecord.encode(GatewayRecord.create({ id: 'g2', address: 'g2:7400' })) },
    { kind: 'put', key: keys.machine('n1'), value: Machine.encode(Machine.create(taken)) },
  );
  expect((await agent.next((message) => message.goodbye)).reason).toContain('newer session');
  await pass(6000, ...others);
  expect(lostNodes()).toEqual([]);
  expect(() => cluster.gateway.streams.reportNow('n1')).toThrow('g2:7400');
});

test('a loss that the store does not take is written when the store is back', async () => {
  const [, ...others] = await Promise.all(['n1', 'n2', 'n3'].map((node) => cluster.connected(node)));
  await pass(3000, ...others);
  cluster.store.inject({ call: 'transact', times: 2 });
  await pass(4000, ...others);
  expect(lostNodes()).toEqual(['n1']);
});

test('a gateway that stops takes its record away at once and says goodbye', async () => {
  const agent = await cluster.connected('n1');
  await cluster.until(() => cluster.view.gateways.has('g1'));
  await cluster.gateway.stop();
  expect((await agent.next((message) => message.goodbye)).reason).toContain('stopping');
  await cluster.until(() => !cluster.view.gateways.has('g1'));
});

/** Moves the clock without firing what falls due meanwhile at its time. */
function leap(clock: ManualClock, ms: number): void {
  const before = clock.monotonicMs.bind(clock);
  clock.monotonicMs = () => before() + ms;
}
