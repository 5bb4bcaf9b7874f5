import { AssignmentDesired, ContainerState } from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ClusterScheduler } from '../scheduler/scheduler.ts';
import { TestCluster } from './testing/cluster.ts';

let cluster: TestCluster;

beforeEach(async () => {
  cluster = new TestCluster((view, clock, signal) => new ClusterScheduler({ view, clock, signal }));
  for (const name of ['n1', 'n2', 'n3']) await cluster.node(name);
  await cluster.lead();
});

afterEach(() => cluster.end());

const slots = (name: string) => cluster.running(name).map(({ slot }) => slot);

describe('priorities', () => {
  const cores = { reservation: { cpuMillis: 2000, memoryBytes: 2 ** 26, ioBytesPerSecond: 0, networkBytesPerSecond: 0 } };

  test('a pending container of a higher band gets its place, the other is stopped gracefully, told of, and waits', async () => {
    await cluster.apply('batch', { replicas: 9, ...cores, drainUs: 7 });
    await cluster.settle();
    const full = slots('batch').length;
    const stopped = new Set<string>();
    cluster.onChange = () => {
      for (const each of cluster.containers('batch')) if (each.reason === 'makes room for shop/web, priority 100') stopped.add(each.id);
    };
    await cluster.apply('web', { replicas: 1, ...cores, priority: 100 });
    await cluster.settle();
    expect(slots('web')).toEqual([1]);
    expect(stopped.size).toBe(1);
    expect(slots('batch')).toHaveLength(full - 1);
    expect(cluster.events.filter(({ type }) => type === 'ContainerPreempted').map(({ message }) => message)).toEqual([
      expect.stringMatching(/^shop\/batch on n\d makes room for shop\/web, which has a higher priority$/),
    ]);
    expect(cluster.refusal('web')).toBeUndefined();
  });

  test('the room goes to whom it was made for, whatever the agent says of the end', async () => {
    await cluster.apply('batch', { replicas: 6, ...cores });
    await cluster.settle();
    expect(slots('batch')).toHaveLength(6);
    for (const name of ['n1', 'n2', 'n3']) cluster.silent.add(name);
    await cluster.apply('web', { replicas: 1, ...cores, priority: 100 });
    await cluster.settle();
    const victim = cluster.containers('batch').find(({ desired }) => desired === AssignmentDesired.stop)!;
    cluster.report(victim, { state: ContainerState.failed, final: false });
    await cluster.settle();
    const placed = (name: string) => cluster.containers(name).filter(({ desired }) => desired === AssignmentDesired.run);
    expect(placed('web').map(({ node }) => node)).toEqual([victim.node]);
    expect(placed('batch')).toHaveLength(5);
  });

  test('nobody of the same band is stopped', async () => {
    await cluster.apply('batch', { replicas: 9, ...cores });
    await cluster.settle();
    const before = cluster.running('batch').map(({ id }) => id);
    await cluster.apply('web', { replicas: 1, ...cores, priority: 99 });
    await cluster.settle();
    await cluster.pass(30_000);
    expect(slots('web')).toEqual([]);
    expect(cluster.running('batch').map(({ id }) => id)).toEqual(before);
  });
});
