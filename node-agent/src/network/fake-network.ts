import { Code, GantryError } from '@gantry/common';
import type { EndpointMap, Peer, ServiceEndpoints } from '@gantry/proto';
import type { ContainerNetwork, InterfaceUsage, Network, NodeNetwork, PreparedNetwork, RateLimit } from './network.ts';

/** A complete network without a kernel, for the agent's tests. */
export class FakeNetwork implements Network {
  /** Containers that are prepared or adopted, by id. */
  readonly containers = new Map<string, ContainerNetwork>();
  /** Counters that `stats` answers; the test sets them. */
  readonly usage = new Map<string, InterfaceUsage>();
  /** The services of the newest endpoint map, by "namespace/app/service". */
  readonly services = new Map<string, ServiceEndpoints>();
  peers: readonly Peer[] = [];
  node: NodeNetwork | undefined;
  closed = false;
  /** When set, `prepare` rejects with it. */
  failure: GantryError | undefined;

  get dnsAddress(): string | undefined {
    return this.node?.subnet.replace(/\.\d+\/\d+$/, '.1');
  }

  async start(node: NodeNetwork): Promise<void> {
    if (this.node !== undefined && this.node.subnet !== node.subnet) {
      throw new GantryError(Code.failedPrecondition, `cannot change the subnet to "${node.subnet}"`);
    }
    this.node = node;
  }

  async prepare(container: ContainerNetwork): Promise<PreparedNetwork> {
    if (this.failure !== undefined) throw this.failure;
    if (this.node === undefined) {
      throw new GantryError(Code.failedPrecondition, `cannot prepare "${container.containerId}": not started`);
    }
    return this.adopt(container);
  }

  adopt(container: ContainerNetwork): PreparedNetwork {
    this.containers.set(container.containerId, container);
    return { netnsPath: `/fake/netns/${container.containerId}`, hostInterface: `g${container.containerId.slice(0, 12)}` };
  }

  async limit(containerId: string, limit: RateLimit, _pid: number): Promise<void> {
    const container = this.containers.get(containerId);
    if (container === undefined) {
      throw new GantryError(Code.notFound, `cannot limit "${containerId}": no such container on this node`);
    }
    this.containers.set(containerId, { ...container, limit });
  }

  async release(containerId: string): Promise<void> {
    this.containers.delete(containerId);
    this.usage.delete(containerId);
  }

  async setPeers(peers: readonly Peer[]): Promise<void> {
    this.peers = peers;
  }

  async setEndpoints(map: EndpointMap): Promise<void> {
    if (map.snapshot) this.services.clear();
    for (const service of map.services) {
      const key = `${service.key?.namespace}/${service.key?.app}/${service.key?.service}`;
      if (service.removed) this.services.delete(key);
      else this.services.set(key, service);
    }
  }

  async stats(): Promise<Map<string, InterfaceUsage>> {
    return new Map(this.usage);
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}
