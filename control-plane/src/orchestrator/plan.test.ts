import {
  Assignment,
  AssignmentDesired,
  ContainerSpec,
  ContainerState,
  ContainerStatus,
  Revision,
  type Rollout,
  RolloutState,
  Service,
  ServiceSpec,
  UpdatePolicy,
  UpdatePolicyFailureAction,
  UpdatePolicyOrder,
} from '@gantry/proto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Desired } from './desired.ts';
import { planService } from './plan.ts';
import { isFinal, isLive, isReady, type NodeCondition, type Replica } from './replica.ts';
import type { Plan } from './steps.ts';

const key = { namespace: 'default', app: 'shop', service: 'web' };
const nodeNames = ['n1', 'n2', 'n3', 'n4'];

/** What may happen between two evaluations. */
const anyEvent = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('agent' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('final' as const), pick: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('node' as const),
      pick: fc.nat(),
      to: fc.constantFrom<NodeCondition>('here', 'lost', 'leaving'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('update' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('scale' as const), pick: fc.integer({ min: 0, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), pick: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('time' as const), pick: fc.integer({ min: 1, max: 20 }) }) },
);

const anyPolicy = fc.record({
  parallelism: fc.integer({ min: 0, max: 3 }),
  order: fc.constantFrom(UpdatePolicyOrder.start_first, UpdatePolicyOrder.stop_first),
  failureAction: fc.constantFrom(UpdatePolicyFailureAction.pause, UpdatePolicyFailureAction.rollback, UpdatePolicyFailureAction.proceed),
});

/** A service, its containers and the nodes, moved by plans and by what happens. */
class Simulation {
  nowUs = 1e15;
  wanted = 3;
  generation = 1;
  restarts = 0;
  rollout: Rollout | undefined;
  readonly policy: UpdatePolicy;
  readonly replicas = new Map<string, { assignment: Assignment; status: ContainerStatus | undefined }>();
  readonly nodes = new Map<string, NodeCondition>(nodeNames.map((name) => [name, 'here']));
  readonly revisions = new Map<number, Revision>();
  #next = 1;

  constructor(policy: Partial<UpdatePolicy>) {
    this.policy = UpdatePolicy.create({ monitorUs: 1e6, ...policy });
    this.revise();
  }

  revise(): void {
    const spec = this.spec();
    this.revisions.set(this.generation, Revision.create({ key, number: this.generation, spec, containerHash: `hash ${this.generation}` }));
  }

  spec(): ServiceSpec {
    return ServiceSpec.create({ name: 'web', replicas: this.wanted, container: ContainerSpec.create(), update: this.policy });
  }

  list(): Replica[] {
    return [...this.replicas.values()].map(({ assignment, status }) => ({
      assignment,
      status,
      node: this.nodes.get(assignment.node)!,
      endedUs: status?.updatedAt ?? 0,
    }));
  }

  desired(): Desired {
    const service = Service.create({ key, spec: this.spec(), generation: this.generation, uid: 'u' });
    const request = { paused: false, restartGeneration: this.restarts, requestedAt: 0, requestedBy: '', requestId: '' };
    return {
      service,
      replicas: this.wanted,
      rollout: this.rollout,
      request,
      revisions: this.revisions,
      nodes: { wanted: [], open: new Set() },
      waitsFor: '',
      exclusive: false,
      bound: false,
    };
  }

  /** One evaluation, carried out. */
  evaluate(): Plan {
    const plan = planService(this.desired(), this.list(), this.nowUs);
    if (plan.rollout) this.rollout = plan.rollout;
    for (const { assignment, reason } of plan.stop) this.change(assignment.id, { desired: AssignmentDesired.stop, reason });
    for (const { assignment, revision } of plan.renumber) this.change(assignment.id, { revision });
    for (const { id } of plan.remove) this.replicas.delete(id);
    for (const { slot, revision, failures, reason } of plan.place) {
      const open = nodeNames.filter((name) => this.nodes.get(name) === 'here');
      if (open.length === 0) continue;
      const id = `c${this.#next++}`;
      const node = open[this.#next % open.length]!;
      const more = { failures, reason, createdAt: this.nowUs, serviceUid: 'u', restartGeneration: this.restarts, spec: this.spec() };
      this.replicas.set(id, { assignment: Assignment.create({ id, key, slot, node, revision, ...more }), status: undefined });
    }
    return plan;
  }

  change(id: string, init: Partial<Assignment>): void {
    const before = this.replicas.get(id)!;
    this.replicas.set(id, { ...before, assignment: { ...before.assignment, ...init } });
  }

  report(replica: Replica, init: Partial<ContainerStatus>): void {
    const { id, node } = replica.assignment;
    const status = ContainerStatus.create({ ...replica.status, id, node, updatedAt: this.nowUs, ...init });
    this.replicas.set(id, { ...this.replicas.get(id)!, status });
  }

  /** The agent of one container does what it is told. */
  obey(replica: Replica): void {
    if (replica.node === 'lost') return;
    if (replica.assignment.desired === AssignmentDesired.stop)
      this.report(replica, { state: ContainerState.complete, ready: false, final: true });
    else if (isLive(replica)) this.report(replica, { state: ContainerState.running, ready: true, startedAt: this.nowUs });
  }

  happen(event: typeof anyEvent extends fc.Arbitrary<infer T> ? T : never): void {
    const all = this.list();
    const reachable = all.filter(({ node }) => node !== 'lost');
    const one = reachable[event.pick % Math.max(1, reachable.length)];
    switch (event.kind) {
      case 'agent':
        if (one) this.obey(one);
        break;
      case 'crash':
        if (one && isLive(one)) this.report(one, { state: ContainerState.failed, ready: false, restarts: (one.status?.restarts ?? 0) + 1 });
        break;
      case 'final':
        if (one && isLive(one)) this.report(one, { state: ContainerState.failed, ready: false, final: true, reason: 'given up' });
        break;
      case 'node':
        this.nodes.set(nodeNames[event.pick % nodeNames.length]!, event.to);
        break;
      case 'update':
        this.generation++;
        this.revise();
        break;
      case 'scale':
        this.wanted = event.pick;
        break;
      case 'restart':
        this.restarts++;
        break;
      case 'time':
        this.nowUs += event.pick * 1e6;
    }
  }
}

const bySlot = (replicas: readonly Replica[]) => Map.groupBy(replicas, ({ assignment }) => assignment.slot);
const reachable = (replica: Replica) => replica.node === 'here' || replica.node === 'leaving';

describe('safety under anything that may happen', () => {
  test('one live container a slot, two only while the new one starts first; never beyond the surge; nothing ready goes without need', () => {
    fc.assert(
      fc.property(anyPolicy, fc.array(anyEvent, { maxLength: 120 }), (policy, events) => {
        const simulation = new Simulation(policy);
        for (const event of events) {
          simulation.happen(event);
          const before = simulation.list();
          const plan = simulation.evaluate();
          const after = simulation.list();
          const live = after.filter((replica) => isLive(replica) && reachable(replica));
          for (const [slot, group] of bySlot(live)) expect([slot, group.length <= 2]).toEqual([slot, true]);
          // Replacements of what leaves a node come beside the rollout's batch.
          const drained = (group: readonly Replica[]) => group.some(({ assignment }) => assignment.reason.endsWith('is drained'));
          const doubled = [...bySlot(live).values()].filter((group) => group.length === 2 && !drained(group));
          const surge = policy.order === UpdatePolicyOrder.start_first ? policy.parallelism || simulation.wanted : 0;
          expect(doubled.length).toBeLessThanOrEqual(surge);
          for (const { assignment } of plan.stop) {
            const was = before.find((replica) => replica.assignment.id === assignment.id)!;
            if (!isReady(was) || assignment.slot > simulation.wanted || was.node !== 'here') continue;
            const others = before.filter((each) => each !== was && each.assignment.slot === assignment.slot);
            if (policy.order === UpdatePolicyOrder.start_first) expect(others.some(isReady)).toBe(true);
          }
          if (policy.order === UpdatePolicyOrder.stop_first && policy.parallelism > 0) {
            const forUpdate = plan.stop.filter(({ reason }) => reason.startsWith('update to'));
            expect(forUpdate.length).toBeLessThanOrEqual(policy.parallelism);
          }
        }
      }),
      { numRuns: 400 },
    );
  });

  test('a slot that is still stopping where it can be reached gets no other container', () => {
    fc.assert(
      fc.property(anyPolicy, fc.array(anyEvent, { maxLength: 80 }), (policy, events) => {
        const simulation = new Simulation(policy);
        for (const event of events) {
          simulation.happen(event);
          const before = simulation.list();
          const plan = simulation.evaluate();
          for (const { slot, replaces } of plan.place) {
            const busy = before.filter(
              (each) =>
                each.assignment.slot === slot && each.assignment.id !== replaces && reachable(each) && !isFinal(each) && !isLive(each),
            );
            const overlaps = before.some((each) => each.assignment.slot === slot && isLive(each) && reachable(each));
            if (!overlaps) expect(busy).toEqual([]);
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('liveness', () => {
  test('when nothing more happens it settles: every slot ready at the target, records of all others gone, no further steps', () => {
    fc.assert(
      fc.property(anyPolicy, fc.array(anyEvent, { maxLength: 60 }), (policy, events) => {
        const simulation = new Simulation(policy);
        for (const event of events) {
          simulation.happen(event);
          simulation.evaluate();
        }
        for (const name of nodeNames) simulation.nodes.set(name, 'here');
        for (let turn = 0; turn < 200; turn++) {
          simulation.nowUs += 10e6;
          simulation.evaluate();
          for (const replica of simulation.list()) simulation.obey(replica);
        }
        const final = simulation.list();
        expect(final.map(({ assignment }) => assignment.slot).sort((a, b) => a - b)).toEqual(
          Array.from({ length: simulation.wanted }, (_, index) => index + 1),
        );
        expect(final.every(isReady)).toBe(true);
        const { state, targetRevision } = simulation.rollout!;
        expect([RolloutState.completed, RolloutState.rolled_back, RolloutState.paused, RolloutState.failed]).toContain(state);
        if (state === RolloutState.completed) {
          expect(targetRevision).toBe(simulation.generation);
          expect(final.every(({ assignment }) => assignment.revision === targetRevision)).toBe(true);
        }
        const plan = simulation.evaluate();
        expect([plan.place, plan.stop, plan.remove, plan.rollout]).toEqual([[], [], [], undefined]);
      }),
      { numRuns: 300 },
    );
  });
});
