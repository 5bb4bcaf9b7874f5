import type { EndpointMap, Peer } from '@gantry/proto';

/** The node's own place in the cluster's network, as the control plane gave it. */
export interface NodeNetwork {
  /** Subnet of the containers, "10.64.3.0/24"; its first address is the bridge. */
  subnet: string;
  /** Range that holds every node's subnet, "10.64.0.0/12". */
  clusterCidr: string;
  /** Suffix of service names, "gantry.internal". */
  clusterDomain: string;
}

/** Bytes a second that a container may move; 0 or absent is no limit. */
export interface RateLimit {
  receiveBytesPerSecond?: number;
  sendBytesPerSecond?: number;
}

/** What the network needs to know about a container of this node. */
export interface ContainerNetwork {
  containerId: string;
  /** Address from the node's subnet without a prefix, by `allocateAddress`. */
  address: string;
  /** Names without an app in them are looked up in this namespace and app. */
  namespace: string;
  app: string;
  limit?: RateLimit;
}

/** Where the container's network is found. */
export interface PreparedNetwork {
  /** Path of the network Linux namespace for the OCI configuration; valid until `release`. */
  netnsPath: string;
  /** Name of the interface on the node's side. */
  hostInterface: string;
}

/** Counters since the interface was made, as the container sees them. */
export interface InterfaceUsage {
  receiveBytes: number;
  receivePackets: number;
  receiveDropped: number;
  sendBytes: number;
  sendPackets: number;
  sendDropped: number;
}

/** The network of one node: addresses for containers, ways to other nodes, names, published ports. */
export interface Network {
  /**
   * Makes bridge, name server and port table. Called again with the same values it does nothing;
   * a changed subnet needs a stopped node and is `failedPrecondition`.
   */
  start(node: NodeNetwork): Promise<void>;

  /** Address of the name server, for a container's resolv.conf; undefined before `start`. */
  readonly dnsAddress: string | undefined;

  /** Makes namespace, interface and route of a container that is about to start; a former one is replaced. */
  prepare(container: ContainerNetwork): Promise<PreparedNetwork>;

  /** Makes a container known that was found running after a restart of the agent. */
  adopt(container: ContainerNetwork): PreparedNetwork;

  /** Changes the limits of a running container; `pid` is its main process, whose namespace is limited. */
  limit(containerId: string, limit: RateLimit, pid: number): Promise<void>;

  /** Forgets a container and removes its interface; unknown ones are fine. */
  release(containerId: string): Promise<void>;

  /** Replaces the routes to the other nodes' subnets; this node itself may be among them. */
  setPeers(peers: readonly Peer[]): Promise<void>;

  /**
   * Applies a complete or partial map of ready containers to names and published ports; resolves
   * when the kernel has it. Connections to an endpoint that is gone from the map live on.
   */
  setEndpoints(map: EndpointMap): Promise<void>;

  /** Counters of every container of the node, by container id. */
  stats(): Promise<Map<string, InterfaceUsage>>;

  /** Ends name server and helper; containers keep their network. */
  close(): Promise<void>;
}
