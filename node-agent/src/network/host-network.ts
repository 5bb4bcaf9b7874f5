import { type Clock, Code, GantryError, type Logger } from '@gantry/common';
import type { EndpointMap, Peer } from '@gantry/proto';
import { DnsServer } from './dns.ts';
import { DnsForwarder, readResolvers } from './dns-forward.ts';
import { EndpointTable } from './endpoint-table.ts';
import { gatewayOf, parseSubnet, type Subnet } from './ipam.ts';
import { NetdClient, type NetdReply } from './netd-client.ts';
import type { ContainerNetwork, InterfaceUsage, Network, NodeNetwork, PreparedNetwork, RateLimit } from './network.ts';
import { nftProgram, PortRules, type RunNft } from './ports.ts';
import { publishedPorts } from './ports-plan.ts';
import { ServiceNames } from './service-names.ts';

export interface HostNetworkOptions {
  /** Path of the `gantry-netd` binary. */
  netd: string;
  /** Name of the bridge, at most 15 characters. */
  bridge: string;
  /** Name of the nft table; default "gantry". */
  table?: string;
  /** Where the host's resolvers stand; default "/etc/resolv.conf". */
  resolvConf?: string;
  clock: Clock;
  log: Logger;
  /** 0..1, for the order of addresses; default Math.random. */
  random?: () => number;
  nft?: RunNft;
}

/** What exists once the node knows its subnet. */
interface Started {
  node: NodeNetwork;
  subnet: Subnet;
  gateway: string;
  ports: PortRules;
  dns: DnsServer;
}

/** The network of this host: kernel interfaces by `gantry-netd`, published ports by nft, names by its own server. */
export class HostNetwork implements Network {
  readonly #options: HostNetworkOptions;
  readonly #netd: NetdClient;
  readonly #containers = new Map<string, ContainerNetwork>();
  readonly #byAddress = new Map<string, ContainerNetwork>();
  readonly #endpoints = new EndpointTable();
  #started: Started | undefined;
  #starting: Promise<Started> | undefined;

  constructor(options: HostNetworkOptions) {
    this.#options = options;
    this.#netd = new NetdClient({ binary: options.netd, clock: options.clock, log: options.log });
  }

  get dnsAddress(): string | undefined {
    return this.#started?.gateway;
  }

  async start(node: NodeNetwork): Promise<void> {
    const present = this.#started ?? (await this.#starting);
    if (present !== undefined) {
      checkUnchanged(present.node, node);
      return;
    }
    this.#starting = this.#begin(node);
    try {
      this.#started = await this.#starting;
    } finally {
      this.#starting = undefined;
    }
    await this.#applyEndpoints(this.#started);
  }

  async #begin(node: NodeNetwork): Promise<Started> {
    const { bridge, clock, table = 'gantry', nft = nftProgram() } = this.#options;
    const subnet = parseSubnet(node.subnet);
    const gateway = gatewayOf(subnet);
    const ports = new PortRules({ table, bridge, gateway, subnet: node.subnet, clusterCidr: node.clusterCidr }, { run: nft, clock });
    // the table's guard stands before the bridge opens the node's loopback to published ports
    await ports.set(publishedPorts(this.#endpoints.services()));
    await this.#netd.request('bridge', { name: bridge, address: `${gateway}/${subnet.prefix}`, localnet: true });
    const dns = this.#nameServer(gateway, node);
    await dns.listen();
    return { node, subnet, gateway, ports, dns };
  }

  #nameServer(gateway: string, node: NodeNetwork): DnsServer {
    const { clock, log, random = Math.random, resolvConf = '/etc/resolv.conf' } = this.#options;
    const forwarder = new DnsForwarder({ clock, resolvers: readResolvers(resolvConf, gateway) });
    const askerOf = (address: string) => this.#byAddress.get(address);
    const names = new ServiceNames(node.clusterDomain, this.#endpoints.services());
    return new DnsServer({ address: gateway, log, forwarder, askerOf, random }, names);
  }

  #need(): Started {
    if (this.#started !== undefined) return this.#started;
    throw new GantryError(Code.failedPrecondition, 'cannot use the network: the node has no subnet yet', { retryable: true });
  }

  async prepare(container: ContainerNetwork): Promise<PreparedNetwork> {
    const { gateway, subnet } = this.#need();
    const { containerId, address, limit } = container;
    // a former run's Linux namespace may hold sockets that are still closing
    if (this.#containers.has(containerId)) await this.release(containerId);
    const hostInterface = interfaceOf(containerId);
    const reply = await this.#netd.request('prepare', {
      bridge: this.#options.bridge,
      host_if: hostInterface,
      address: `${address}/${subnet.prefix}`,
      gateway,
    });
    this.#remember(container);
    if (limit !== undefined) await this.#netd.request('rate', { host_if: hostInterface, ...ratesOf(limit) });
    return { netnsPath: String(reply.netns), hostInterface };
  }

  adopt(container: ContainerNetwork): PreparedNetwork {
    this.#remember(container);
    return { netnsPath: '', hostInterface: interfaceOf(container.containerId) };
  }

  #remember(container: ContainerNetwork): void {
    this.#containers.set(container.containerId, container);
    this.#byAddress.set(container.address, container);
  }

  async limit(containerId: string, limit: RateLimit, pid: number): Promise<void> {
    const container = this.#containers.get(containerId);
    if (container === undefined) {
      throw new GantryError(Code.notFound, `cannot limit "${containerId}": no such container on this node`);
    }
    const netns = `/proc/${pid}/ns/net`;
    await this.#netd.request('rate', { host_if: interfaceOf(containerId), netns, ...ratesOf(limit) });
    this.#containers.set(containerId, { ...container, limit });
  }

  async release(containerId: string): Promise<void> {
    const container = this.#containers.get(containerId);
    this.#containers.delete(containerId);
    if (container !== undefined && this.#byAddress.get(container.address)?.containerId === containerId) {
      this.#byAddress.delete(container.address);
    }
    await this.#netd.request('release', { host_if: interfaceOf(containerId) });
  }

  async setPeers(peers: readonly Peer[]): Promise<void> {
    const { node } = this.#need();
    const others = peers.filter((peer) => peer.subnet !== '' && peer.address !== '' && peer.subnet !== node.subnet);
    await this.#netd.request('routes', { routes: others.map((peer) => ({ to: peer.subnet, via: peer.address })) });
  }

  async setEndpoints(map: EndpointMap): Promise<void> {
    const taken = this.#endpoints.take(map);
    // before the start the map is kept, and applied by it
    if (taken && this.#started !== undefined) await this.#applyEndpoints(this.#started);
  }

  async #applyEndpoints(started: Started): Promise<void> {
    started.dns.setNames(new ServiceNames(started.node.clusterDomain, this.#endpoints.services()));
    await started.ports.set(publishedPorts(this.#endpoints.services()));
  }

  async stats(): Promise<Map<string, InterfaceUsage>> {
    this.#need();
    const { stats } = await this.#netd.request('stats', { bridge: this.#options.bridge });
    const byInterface = stats as Record<string, NetdReply>;
    const usage = new Map<string, InterfaceUsage>();
    for (const containerId of this.#containers.keys()) {
      const figures = byInterface[interfaceOf(containerId)];
      if (figures !== undefined) usage.set(containerId, usageOf(figures));
    }
    return usage;
  }

  async close(): Promise<void> {
    await this.#starting?.catch(() => {});
    await this.#started?.dns.close();
    await this.#netd.close();
  }
}

function checkUnchanged(present: NodeNetwork, wanted: NodeNetwork): void {
  if (present.subnet === wanted.subnet && present.clusterCidr === wanted.clusterCidr && present.clusterDomain === wanted.clusterDomain)
    return;
  throw new GantryError(
    Code.failedPrecondition,
    `cannot change the node's network to "${wanted.subnet}": must stay "${present.subnet}" while the agent runs`,
    { details: { hint: 'drain the node and restart its agent' } },
  );
}

/** 13 of the 15 characters that an interface's name may have. */
function interfaceOf(containerId: string): string {
  return `g${containerId.slice(0, 12)}`;
}

function ratesOf(limit: RateLimit): { rxBytesPerSecond: number; txBytesPerSecond: number } {
  return { rxBytesPerSecond: limit.receiveBytesPerSecond ?? 0, txBytesPerSecond: limit.sendBytesPerSecond ?? 0 };
}

function usageOf(figures: NetdReply): InterfaceUsage {
  const number = (key: string) => Number(figures[key] ?? 0);
  return {
    receiveBytes: number('rxBytes'),
    receivePackets: number('rxPackets'),
    receiveDropped: number('rxDropped'),
    sendBytes: number('txBytes'),
    sendPackets: number('txPackets'),
    sendDropped: number('txDropped'),
  };
}
