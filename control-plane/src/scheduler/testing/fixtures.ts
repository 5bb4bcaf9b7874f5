import { ServiceSpec } from '@gantry/proto';
import { amountsOf } from '../dimensions.ts';
import type { Demand, SchedulerNode } from '../ports.ts';

/** A ready node of 4 cores, 8 GiB, 200 MB/s of I/O and 125 MB/s of network. */
export function node(name: string, init: Partial<SchedulerNode> = {}): SchedulerNode {
  return {
    name,
    hostname: name,
    os: 'linux',
    arch: 'amd64',
    labels: {},
    taints: [],
    unready: '',
    closed: '',
    capacity: amountsOf({ cpuMillis: 4000, memoryBytes: 8 * 2 ** 30, ioBytesPerSecond: 200e6, networkBytesPerSecond: 125e6 }),
    ...init,
  };
}

/** Half a core and 256 MiB, anywhere. */
export function demand(init: Partial<Demand> = {}): Demand {
  return {
    needs: amountsOf({ cpuMillis: 500, memoryBytes: 256 * 2 ** 20, ioBytesPerSecond: 0, networkBytesPerSecond: 0 }),
    constraints: [],
    tolerations: [],
    preferences: [],
    affinities: [],
    maxPerNode: 0,
    strategy: undefined,
    pin: undefined,
    replicas: 1,
    ...init,
  };
}

/** Ids "c1".."cN". */
export function ids(count: number, prefix = 'c'): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);
}

/** A spec with a reservation of half a core and 256 MiB. */
export function spec(init: Partial<ServiceSpec> = {}): ServiceSpec {
  return ServiceSpec.create({
    name: 'web',
    replicas: 1,
    reservation: { cpuMillis: 500, memoryBytes: 256 * 2 ** 20, ioBytesPerSecond: 0, networkBytesPerSecond: 0 },
    ...init,
  });
}
