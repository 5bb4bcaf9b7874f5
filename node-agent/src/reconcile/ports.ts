import type { Clock, Logger } from '@gantry/common';
import type { ContainerStatus } from '@gantry/proto';
import type { Prober } from '../health/prober.ts';
import type { ImageStore } from '../image/images.ts';
import type { Network, NodeNetwork } from '../network/network.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Sampler } from '../usage/sampler.ts';
import type { Volumes } from '../volume/volumes.ts';

/** Where the control plane's view of the containers is told. */
interface StatusSink {
  /** A container's newest status; `passing` ones are of a phase that usually lasts only milliseconds. */
  put(status: ContainerStatus, options: { passing: boolean }): void;
  /** Nothing of the container is left on the node. */
  removed(id: string): void;
}

/** What lasts of a container beyond its life: its logs. */
interface Remains {
  /** Takes over what is left of a removed container's folder. */
  keep(id: string): Promise<void>;
}

/** Facts of the node that every container's configuration needs. */
export interface NodeFacts {
  /** Node name. */
  name: string;
  /** What outlives a reboot. */
  dataDir: string;
  /** What does not. */
  runDir: string;
  /** Cgroup that holds all containers, "/gantry". */
  cgroupParent: string;
  /** Whole disks that I/O limits are put on, "8:0". */
  disks: readonly string[];
}

/** Everything that the reconciler acts through. */
export interface ReconcilePorts {
  clock: Clock;
  log: Logger;
  runtime: Runtime;
  images: Pick<ImageStore, 'present' | 'ensure'>;
  volumes: Pick<Volumes, 'prepare' | 'release'>;
  network: Pick<Network, 'prepare' | 'adopt' | 'release' | 'limit' | 'dnsAddress'>;
  /** The node's place in the cluster's network; undefined until the control plane has given one. */
  nodeNetwork: () => NodeNetwork | undefined;
  prober: Pick<Prober, 'watch' | 'unwatch' | 'onChange'>;
  sampler: Pick<Sampler, 'track' | 'untrack'>;
  statuses: StatusSink;
  remains: Remains;
  facts: NodeFacts;
}
