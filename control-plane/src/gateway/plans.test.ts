import { Code, ManualClock } from '@gantry/common';
import {
  Assignment,
  AssignmentDesired,
  ContainerHealth,
  ContainerState,
  ContainerStatus,
  Hello,
  Machine,
  Service,
  ServiceSpec,
} from '@gantry/proto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type AdmissionInput, AdmissionThrottle, admit } from './admission.ts';
import { containerEvents } from './container-events.ts';
import { endpointsOf } from './endpoint-table.ts';
import { lossMs, type Observed, planLiveness, defaultLivenessRules as rules } from './liveness-plan.ts';
import { Outbox } from './outbox.ts';
import { nextSessionState, type SessionEvent, type SessionState } from './session-state.ts';
import { isNewer, removedStatus, StatusLane } from './status-lane.ts';
import { StopHolds } from './stop-holds.ts';
import { formatRange, lowestFreeSubnet, parseRange } from './subnets.ts';

const quiet = (node: string, silentMs: number, now: number, zone = ''): Observed => ({ node, zone, heardMs: now - silentMs });

test('a node is lost after three missing heartbeats and the grace, not a millisecond before', () => {
  const nodes = (silentMs: number) => [quiet('n1', silentMs, 10_000), quiet('n2', 100, 10_000), quiet('n3', 900, 10_000)];
  expect(planLiveness(nodes(3499), 10_000, rules)).toMatchObject({ lost: [], spared: [], nextMs: 10_001 });
  expect(planLiveness(nodes(3500), 10_000, rules)).toMatchObject({ lost: ['n1'], spared: [] });
});

test('when 55 % of a zone or more are silent together nobody there is lost, and other zones go on', () => {
  const now = 10_000;
  const bad = [quiet('a1', 3600, now, 'a'), quiet('a2', 2100, now, 'a'), quiet('a3', 10, now, 'a')];
  const good = [quiet('b1', 3600, now, 'b'), ...['b2', 'b3', 'b4'].map((node) => quiet(node, 10, now, 'b'))];
  const plan = planLiveness([...bad, ...good], now, rules);
  expect(plan.lost).toEqual(['b1']);
  expect(plan.spared).toEqual(['a1']);
  expect([...plan.braked]).toEqual([['a', { silent: 2, nodes: 3 }]]);
});

test('a zone of one or two nodes is judged with the whole cluster', () => {
  const now = 10_000;
  const nodes = (silentMs: number) => ['z1', 'z2', 'z3'].map((zone, index) => quiet(`n${index}`, index === 0 ? 3600 : silentMs, now, zone));
  expect(planLiveness(nodes(10), now, rules)).toMatchObject({ lost: ['n0'], spared: [] });
  expect(planLiveness(nodes(2500), now, rules)).toMatchObject({ lost: [], spared: ['n0'] });
});

test('a node lost a while ago neither brakes nor counts; one lost just now counts as silent', () => {
  const now = 60_000;
  const lost = (agoMs: number): Observed => ({ node: 'n1', zone: '', heardMs: 0, lostMs: now - agoMs });
  const others = [quiet('n2', 3600, now), quiet('n3', 10, now)];
  expect(planLiveness([lost(30_000), ...others], now, rules)).toMatchObject({ lost: ['n2'], spared: [] });
  expect(planLiveness([lost(3000), ...others], now, rules)).toMatchObject({ lost: [], spared: ['n2'] });
});

test('safety: nobody heard within the limit is lost, and never are 55 % of a zone or of all lost by one plan; liveness: it looks again in time', () => {
  const nodes = fc.array(fc.record({ zone: fc.constantFrom('', 'a', 'b'), silentMs: fc.integer({ min: 0, max: 8000 }) }), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(nodes, (list) => {
      const now = 100_000;
      const observed = list.map(({ zone, silentMs }, index) => quiet(`n${index}`, silentMs, now, zone));
      const plan = planLiveness(observed, now, rules);
      for (const name of [...plan.lost, ...plan.spared]) {
        expect(now - observed.find((node) => node.node === name)!.heardMs).toBeGreaterThanOrEqual(lossMs(rules));
      }
      expect(plan.lost.length).toBeLessThanOrEqual(observed.length * rules.brakeShare);
      for (const zone of ['a', 'b']) {
        const size = observed.filter((node) => node.zone === zone).length;
        const lost = plan.lost.filter((name) => observed.find((node) => node.node === name)!.zone === zone).length;
        if (size >= 3) expect(lost).toBeLessThan(size * rules.brakeShare);
      }
      expect(plan.nextMs).toBeGreaterThan(now);
      expect(plan.nextMs).toBeLessThanOrEqual(now + rules.heartbeatMs);
      const overdue = observed.filter((node) => now - node.heardMs >= lossMs(rules)).length;
      expect(plan.lost.length + plan.spared.length).toBe(overdue);
    }),
  );
});

test('ranges are read strictly and written back the same', () => {
  for (const text of ['10.64.0.0/12', '0.0.0.0/0', '255.255.255.255/32', '192.168.4.0/22'])
    expect(formatRange(parseRange(text))).toBe(text);
  for (const text of ['', '10.64.0.0', '10.64.0.1/12', '10.256.0.0/16', '10.0.0.0/33', '10.0.0.0/8 ', 'fd00::/8']) {
    expect(() => parseRange(text)).toThrow(expect.objectContaining({ code: Code.invalidArgument }));
  }
});

test('subnets are given lowest first, are all different, and their end is told', () => {
  const cluster = parseRange('10.64.0.0/22');
  const taken = new Set<string>();
  for (let index = 0; index < 4; index++) taken.add(lowestFreeSubnet(cluster, taken));
  expect([...taken]).toEqual(['10.64.0.0/24', '10.64.1.0/24', '10.64.2.0/24', '10.64.3.0/24']);
  expect(() => lowestFreeSubnet(cluster, taken)).toThrow(expect.objectContaining({ code: Code.resourceExhausted }));
  taken.delete('10.64.1.0/24');
  expect(lowestFreeSubnet(cluster, taken)).toBe('10.64.1.0/24');
});

const admission = (init: Partial<AdmissionInput> = {}): AdmissionInput => ({
  hello: Hello.create({ node: 'n1', epoch: 5, machine: Machine.create({ name: 'liar', subnet: '1.2.3.0/24', session: 99, cpus: 4 }) }),
  machine: undefined,
  present: undefined,
  nowMs: 1000,
  nowUs: 7,
  aliveMs: 2000,
  gateway: 'g1',
  newSubnet: () => '10.64.0.0/24',
  ...init,
});

test('what the agent says of itself is taken, what the control plane decides is not', () => {
  expect(admit(admission())).toMatchObject({ name: 'n1', cpus: 4, subnet: '10.64.0.0/24', session: 1, gateway: 'g1', epoch: 5, lostAt: 0 });
  const machine = Machine.create({ subnet: '10.64.7.0/24', session: 8, epoch: 4, lostAt: 3 });
  expect(admit(admission({ machine }))).toMatchObject({ subnet: '10.64.7.0/24', session: 9, lostAt: 0 });
});

test('an older epoch is a copy, the same epoch only beside a session that is alive', () => {
  const machine = Machine.create({ epoch: 6 });
  expect(() => admit(admission({ machine }))).toThrow('epoch 6 or later');
  expect(() => admit(admission({ present: { epoch: 5, heardMs: 900 } }))).toThrow('is alive');
  expect(admit(admission({ present: { epoch: 5, heardMs: -1000 } }))).toBeDefined();
  expect(admit(admission({ present: { epoch: 4, heardMs: 999 } }))).toBeDefined();
});

test('refused nodes wait longer each time, others do not; the memory for them is bounded', () => {
  const throttle = new AdmissionThrottle(2);
  throttle.refused('n1', 0);
  expect(() => throttle.check('n1', 100)).toThrow(expect.objectContaining({ code: Code.resourceExhausted }));
  expect(() => throttle.check('n1', 250)).not.toThrow();
  throttle.refused('n1', 250);
  expect(() => throttle.check('n1', 700)).toThrow();
  expect(() => throttle.check('n2', 0)).not.toThrow();
  throttle.forgive('n1');
  expect(() => throttle.check('n1', 700)).not.toThrow();
  for (const node of ['a', 'b', 'c']) throttle.refused(node, 0);
  expect(() => throttle.check('a', 1)).not.toThrow();
  expect(() => throttle.check('c', 1)).toThrow();
});

test('a session moves forward only and stays ended for its first reason', () => {
  const play = (...events: SessionEvent[]) => events.reduce<SessionState>(nextSessionState, { kind: 'greeting' });
  const hello: SessionEvent = { kind: 'hello', epoch: 3 };
  expect(play(hello, { kind: 'registered', number: 7 })).toEqual({ kind: 'active', epoch: 3, number: 7 });
  expect(play(hello, { kind: 'end', reason: 'one' }, { kind: 'end', reason: 'two' }, hello)).toEqual({ kind: 'ended', reason: 'one' });
  expect(() => play({ kind: 'registered', number: 7 })).toThrow('session that is greeting');
  expect(() => play(hello, hello)).toThrow('session that is registering');
});

test('the outbox sends news by urgency, each once however often it was marked, and then its last word', async () => {
  let pings = 0;
  const nothing = () => undefined;
  const outbox = new Outbox({
    welcome: nothing,
    statusAck: nothing,
    assignments: () => ({ assignments: { revision: 1, snapshot: false, upserts: [], removals: [] } }),
    endpoints: nothing,
    network: nothing,
    commands: nothing,
    pong: () => ({ pong: { sequence: ++pings } }),
  });
  for (let index = 0; index < 1000; index++) for (const slot of ['pong', 'assignments', 'statusAck'] as const) outbox.mark(slot);
  const messages = outbox.messages();
  expect((await messages.next()).value).toMatchObject({ assignments: { revision: 1 } });
  expect((await messages.next()).value).toMatchObject({ pong: { sequence: 1 } });
  const next = messages.next();
  outbox.end({ goodbye: { reason: 'done', removed: false } });
  outbox.end(undefined, new Error('too late'));
  expect((await next).value).toMatchObject({ goodbye: { reason: 'done' } });
  expect((await messages.next()).done).toBe(true);
});

const status = (id: string, sequence: number, init: Partial<ContainerStatus> = {}) =>
  ContainerStatus.create({ id, epoch: 1, sequence, ...init });

test('a lane acknowledges only what has settled, while it keeps one status a container', () => {
  const lane = new StatusLane();
  const put = (id: string, sequence: number) => {
    lane.heard(sequence);
    lane.put(status(id, sequence));
  };
  put('a', 1);
  put('b', 2);
  put('a', 3);
  expect(lane.waiting).toBe(2);
  expect(lane.acknowledged).toBe(0);
  expect(lane.take(1).map((pending) => pending.status.sequence)).toEqual([3]);
  put('a', 4);
  expect(lane.take(10).map((pending) => pending.status.id)).toEqual(['b']);
  lane.settle('b');
  expect(lane.acknowledged).toBe(0);
  lane.settle('a');
  expect(lane.acknowledged).toBe(3);
  lane.take(10);
  lane.putBack('a');
  expect(lane.acknowledged).toBe(3);
  lane.take(10);
  lane.settle('a');
  expect(lane.acknowledged).toBe(4);
});

test('whatever is put, taken, settled and put back, an acknowledged status is never lost', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('put' as const), id: fc.constantFrom('a', 'b', 'c') }),
    fc.record({ kind: fc.constantFrom('take' as const, 'settle' as const, 'fail' as const), id: fc.constantFrom('a', 'b', 'c') }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const lane = new StatusLane();
      const flying = new Map<string, ContainerStatus>();
      const durable = new Map<string, number>();
      const newest = new Map<string, number[]>();
      let sequence = 0;
      for (const { kind, id } of steps) {
        if (kind === 'put') {
          lane.heard(++sequence);
          lane.put(status(id, sequence));
          newest.set(id, [...(newest.get(id) ?? []), sequence]);
        } else if (kind === 'take') {
          for (const pending of lane.take(2)) flying.set(pending.status.id, pending.status);
        } else if (kind === 'settle' && flying.has(id)) {
          durable.set(id, flying.get(id)!.sequence);
          flying.delete(id);
          lane.settle(id);
        } else if (kind === 'fail' && flying.delete(id)) lane.putBack(id);
        for (const [container, sequences] of newest) {
          const owed = sequences.filter((one) => one <= lane.acknowledged).at(-1) ?? 0;
          expect(durable.get(container) ?? 0).toBeGreaterThanOrEqual(owed);
        }
      }
      for (const container of flying.keys()) lane.settle(container);
      for (const pending of lane.take(10)) lane.settle(pending.status.id);
      expect(lane.acknowledged).toBe(sequence);
    }),
  );
});

test('order is by epoch, then by sequence', () => {
  expect(isNewer(status('a', 1, { epoch: 2 }), status('a', 9))).toBe(true);
  expect(isNewer(status('a', 9), status('a', 9))).toBe(false);
  expect(isNewer(status('a', 8), status('a', 9))).toBe(false);
});

test('a container of which nothing is left keeps an end that is known, else gets one', () => {
  const said = { id: 'a', node: 'n1', epoch: 1, sequence: 9 };
  expect(removedStatus(status('a', 1, { state: ContainerState.failed }), said)).toBeUndefined();
  expect(removedStatus(status('a', 1, { state: ContainerState.running, ready: true, restarts: 4 }), said)).toMatchObject({
    state: ContainerState.complete,
    ready: false,
    restarts: 4,
    sequence: 9,
  });
});

test('only ready containers that are to run, on nodes that are there, are endpoints', () => {
  const key = { namespace: 'd', app: 'a', service: 's' };
  const service = Service.create({ key, spec: ServiceSpec.create({ aliases: ['x'] }) });
  const container = (id: string, slot: number, assigned: Partial<Assignment> = {}, said: Partial<ContainerStatus> = {}) => ({
    assignment: Assignment.create({ id, slot, node: 'n1', ...assigned }),
    status: ContainerStatus.create({ id, state: ContainerState.running, ready: true, address: `10.0.0.${slot}`, ...said }),
  });
  const message = endpointsOf(
    service,
    [
      container('c', 3),
      container('a', 1),
      container('stops', 2, { desired: AssignmentDesired.stop }),
      container('lost', 4, { node: 'gone' }),
      container('unready', 5, {}, { ready: false }),
      container('ended', 6, {}, { state: ContainerState.complete }),
      { assignment: Assignment.create({ id: 'new', slot: 7 }), status: undefined },
    ],
    (node) => node === 'gone',
  );
  expect(message.endpoints.map((endpoint) => endpoint.containerId)).toEqual(['a', 'c']);
  expect(message).toMatchObject({ key, aliases: ['x'], removed: false });
});

test('a hold ends with the last acknowledgement, the last session or its time, whichever is first', async () => {
  const clock = new ManualClock();
  const released: string[] = [];
  const holds = new StopHolds(clock, 2000, (id) => released.push(id));
  const [one, two] = [{}, {}];
  holds.hold('a', 5, [one, two]);
  holds.hold('b', 6, [one]);
  holds.hold('none', 6, []);
  expect(holds.isHeld('none')).toBe(false);
  holds.acknowledged(one, 5);
  expect(released).toEqual([]);
  holds.ended(two);
  expect(released).toEqual(['a']);
  await clock.advance(2000);
  expect(released).toEqual(['a', 'b']);
  expect(clock.pending).toBe(0);
});

test('users are told of starts, ends, restarts and health, and not of the steps between', () => {
  const assignment = Assignment.create({ id: 'c1', node: 'n1', slot: 2, key: { namespace: 'd', app: 'shop', service: 'web' } });
  const said = (state: ContainerState, init: Partial<ContainerStatus> = {}) => ContainerStatus.create({ id: 'c1', state, ...init });
  const told = (before: ContainerStatus | undefined, after: ContainerStatus) =>
    containerEvents(assignment, before, after).map((event) => event.message);
  expect(told(undefined, said(ContainerState.preparing))).toEqual([]);
  expect(told(said(ContainerState.starting), said(ContainerState.running))).toEqual(['shop/web.2 runs']);
  expect(told(said(ContainerState.running), said(ContainerState.running, { ready: true }))).toEqual([]);
  expect(told(said(ContainerState.running), said(ContainerState.failed, { exitCode: 137, oomKilled: true }))).toEqual([
    'shop/web.2 failed: exit code 137 (out of memory)',
  ]);
  const again = said(ContainerState.running, { restarts: 1, lastReason: 'exit code 1' });
  expect(told(said(ContainerState.starting), again)).toEqual(['shop/web.2 runs again after exit code 1, restart 1']);
  expect(told(again, { ...again, health: ContainerHealth.unhealthy })).toEqual(['shop/web.2 fails its health check']);
  expect(told({ ...again, health: ContainerHealth.unhealthy }, { ...again, health: ContainerHealth.healthy })).toHaveLength(1);
  expect(containerEvents(assignment, undefined, said(ContainerState.rejected, { reason: 'no image' }))).toMatchObject([
    { type: 'ContainerRejected', severity: 1, namespace: 'd', app: 'shop', service: 'web', subject: 'container/c1', node: 'n1' },
  ]);
});
