import { AssignmentDesired, UpdatePolicy, UpdatePolicyOrder } from '@gantry/proto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ClusterScheduler } from '../scheduler/scheduler.ts';
import { TestCluster } from './testing/cluster.ts';

const nodeNames = ['n1', 'n2', 'n3', 'n4'];

const anyTrouble = fc.oneof(
  fc.record({ kind: fc.constant('kill' as const), turns: fc.integer({ min: 0, max: 12 }) }),
  fc.record({ kind: fc.constant('lostAnswer' as const), applied: fc.boolean(), turns: fc.integer({ min: 0, max: 6 }) }),
  fc.record({ kind: fc.constant('lose' as const), node: fc.constantFrom(...nodeNames), turns: fc.integer({ min: 0, max: 6 }) }),
  fc.record({ kind: fc.constant('heal' as const), node: fc.constantFrom(...nodeNames), turns: fc.integer({ min: 0, max: 6 }) }),
  fc.record({ kind: fc.constant('apply' as const), replicas: fc.integer({ min: 0, max: 9 }), image: fc.constantFrom('a', 'b') }),
  fc.record({ kind: fc.constant('away' as const), turns: fc.integer({ min: 1, max: 10 }) }),
);
type Trouble = typeof anyTrouble extends fc.Arbitrary<infer T> ? T : never;

const update = UpdatePolicy.create({ parallelism: 2, monitorUs: 1e6, order: UpdatePolicyOrder.start_first });

async function turn(times: number): Promise<void> {
  for (let left = times; left > 0; left--) await new Promise((resolve) => setImmediate(resolve));
}

async function suffer(cluster: TestCluster, trouble: Trouble): Promise<void> {
  switch (trouble.kind) {
    case 'kill':
      await turn(trouble.turns);
      cluster.kill();
      await cluster.lead();
      break;
    case 'lostAnswer':
      cluster.leaderStore.inject({ call: 'transact', applied: trouble.applied });
      await turn(trouble.turns);
      break;
    case 'lose':
    case 'heal':
      await cluster.lose(trouble.node, trouble.kind === 'lose');
      await turn(trouble.turns);
      break;
    case 'apply':
      await cluster.apply('web', { replicas: trouble.replicas, update }, trouble.image);
      break;
    case 'away':
      cluster.leaderStore.setAvailable(false);
      await turn(trouble.turns);
      cluster.leaderStore.setAvailable(true);
      break;
  }
}

test('whatever fails on the way, in the end exactly the slots that are wanted run, once each, and nothing is left behind', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyTrouble, { minLength: 1, maxLength: 14 }), fc.integer({ min: 0, max: 9 }), async (troubles, replicas) => {
      const cluster = new TestCluster((view, clock, signal) => new ClusterScheduler({ view, clock, signal }));
      try {
        for (const name of nodeNames) await cluster.node(name);
        await cluster.lead();
        let twice = '';
        cluster.onChange = () => {
          // Of one slot two may run only while one of another revision takes over.
          for (const [slot, group] of Map.groupBy(cluster.running('web'), (container) => container.slot)) {
            const alike = new Set(group.map(({ revision, reason }) => `${revision} ${reason.endsWith('is drained')}`));
            if (group.length > alike.size)
              twice = `slot ${slot} twice: ${group.map(({ id, revision }) => `${id} of ${revision}`).join(', ')}`;
          }
        };
        for (const trouble of troubles) await suffer(cluster, trouble);
        for (const name of nodeNames) await cluster.lose(name, false);
        await cluster.apply('web', { replicas, update }, 'last');
        await cluster.pass(40_000, 1000);
        expect(twice).toBe('');
        const slots = cluster.running('web').map(({ slot }) => slot);
        expect(slots.sort((a, b) => a - b)).toEqual(Array.from({ length: replicas }, (_, index) => index + 1));
        expect(cluster.containers('web').every(({ desired }) => desired === AssignmentDesired.run)).toBe(true);
        expect(cluster.running('web').every(({ spec }) => spec?.container?.image === 'last')).toBe(true);
      } finally {
        cluster.end();
      }
    }),
    { numRuns: 150 },
  );
}, 60_000);
