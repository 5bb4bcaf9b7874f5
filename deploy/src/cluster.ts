import { randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Code, GantryError, writeFileAtomic } from '@gantry/common';
import { removeRemains } from './cleanup.ts';
import {
  clusterCidr,
  createFabric,
  type Fabric,
  freeOctet,
  hostAddress,
  hostNamespace,
  machineAddress,
  removeFabric,
  setLink,
} from './links.ts';
import { isAlive, type OwnProcess, run, type SpawnOptions, signalProcess, spawnDetached, stopProcess, waitUntil } from './process.ts';
import { etcdCommand, freePort, redisCommand, registryCommand, waitForPort } from './servers.ts';

export const installation = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** What a local cluster is, as it stands in cluster.json. */
export interface ClusterRecord extends Fabric {
  etcdPort: number;
  etcdPeerPort: number;
  redisPort: number;
  registryPort: number;
  /** API port of each control plane. */
  apiPorts: number[];
  httpPorts: number[];
  /** Declared capacity of each node, as the agent's --capacity takes it. */
  capacity: string;
  processes: Record<string, OwnProcess>;
}

export interface CreateOptions {
  /** Folder that holds everything of the cluster; made when missing. */
  folder: string;
  nodes?: number;
  controlPlanes?: number;
  capacity?: string;
  /** Further options of every agent and control plane. */
  agentArgs?: readonly string[];
  controlPlaneArgs?: readonly string[];
  /** Told of each step that takes time. */
  progress?: (step: string) => void;
}

/** Where the daemons' programs lie. */
const programs = {
  controlPlane: join(installation, 'control-plane/build/gantry-control-plane.mjs'),
  agent: join(installation, 'node-agent/build/gantry-agent.mjs'),
  berth: join(installation, 'native/build/berth'),
  netd: join(installation, 'native/build/gantry-netd'),
  unpack: join(installation, 'native/build/gantry-unpack'),
};

/** Separates the runs of a daemon in its log. */
const startMarker = '{"msg":"starting"}';

/** Keeps each daemon's young generation small: they hold little and live long. */
const nodeFlags = ['--max-semi-space-size=2'];

/** What need not survive a reboot lies in memory, as /run does on a host. */
async function mountRunFolder(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${folder} `)) return;
  await run('mount', ['-t', 'tmpfs', '-o', 'mode=700,size=256m', 'gantry-run', folder]);
}

/** A cluster on this machine whose hosts are Linux network namespaces: for trying Gantry and for its tests. */
export class LocalCluster {
  readonly folder: string;
  readonly record: ClusterRecord;
  readonly #agentArgs: readonly string[];
  readonly #controlPlaneArgs: readonly string[];
  #saving: Promise<void> = Promise.resolve();

  private constructor(folder: string, record: ClusterRecord, options: Pick<CreateOptions, 'agentArgs' | 'controlPlaneArgs'> = {}) {
    this.folder = folder;
    this.record = record;
    this.#agentArgs = options.agentArgs ?? [];
    this.#controlPlaneArgs = options.controlPlaneArgs ?? [];
  }

  /** The cluster of a folder, or undefined when there is none. */
  static open(folder: string): LocalCluster | undefined {
    const path = join(folder, 'cluster.json');
    if (!existsSync(path)) return undefined;
    return new LocalCluster(folder, JSON.parse(readFileSync(path, 'utf8')) as ClusterRecord);
  }

  /** Makes and starts a cluster; what was begun is removed again when a step fails. */
  static async create(options: CreateOptions): Promise<LocalCluster> {
    const { folder, nodes = 3, controlPlanes = 1, capacity = 'cpu=2,memory=4Gi,io=200MB/s,network=1Gbit/s' } = options;
    if (existsSync(join(folder, 'cluster.json'))) {
      throw new GantryError(Code.alreadyExists, `cannot create a cluster in "${folder}": there is one`, {
        details: { hint: 'gantry down' },
      });
    }
    mkdirSync(join(folder, 'log'), { recursive: true, mode: 0o700 });
    const id = randomBytes(2).toString('hex');
    const ports = await Promise.all(Array.from({ length: 4 + 2 * controlPlanes }, () => freePort()));
    const record: ClusterRecord = {
      id,
      octet: await freeOctet(Number.parseInt(id, 16)),
      nodes,
      etcdPort: ports[0]!,
      etcdPeerPort: ports[1]!,
      redisPort: ports[2]!,
      registryPort: ports[3]!,
      apiPorts: ports.slice(4, 4 + controlPlanes),
      httpPorts: ports.slice(4 + controlPlanes),
      capacity,
      processes: {},
    };
    const cluster = new LocalCluster(folder, record, options);
    try {
      await cluster.#save();
      await cluster.#startAll(options.progress ?? (() => undefined));
      return cluster;
    } catch (error) {
      await cluster.remove({ keepLogs: true });
      throw error;
    }
  }

  async #startAll(progress: (step: string) => void): Promise<void> {
    progress(`network: ${this.record.nodes} hosts on 10.${this.record.octet}.0.0/16`);
    await createFabric(this.record);
    progress('servers: etcd, Redis, image registry');
    await Promise.all([this.startEtcd(), this.startRedis(), this.startRegistry()]);
    progress('control plane');
    for (let index = 0; index < this.record.apiPorts.length; index++) await this.startControlPlane(index);
    progress('agents');
    for (let node = 1; node <= this.record.nodes; node++) await this.startAgent(node);
    for (let node = 1; node <= this.record.nodes; node++) await this.ready(`agent-n${node}`);
  }

  get contextFile(): string {
    return join(this.folder, 'context.json');
  }

  /** Where the nodes pull images from, "10.101.255.254:5000". */
  get registry(): string {
    return `${machineAddress(this.record)}:${this.record.registryPort}`;
  }

  nodeAddress(node: number): string {
    return hostAddress(this.record, node);
  }

  nodeFolder(node: number): string {
    return join(this.folder, `n${node}`);
  }

  /** Command line that runs a program on a host: followed by the program and its arguments. */
  onHost(node: number): [string, ...string[]] {
    return ['nsenter', `--net=/run/netns/${hostNamespace(this.record.id, node)}`];
  }

  cgroupParent(node: number): string {
    return `/gantry-${this.record.id}-n${node}`;
  }

  process(name: string): OwnProcess {
    const process = this.record.processes[name];
    if (!process) throw new GantryError(Code.notFound, `cannot find process "${name}" of the local cluster`);
    return process;
  }

  async startEtcd(): Promise<void> {
    const command = etcdCommand(this.folder, this.record.etcdPort, this.record.etcdPeerPort);
    await this.#start(command);
    await waitForPort('etcd', '127.0.0.1', this.record.etcdPort, command.log);
  }

  async startRedis(): Promise<void> {
    const command = redisCommand(this.folder, this.record.redisPort);
    await this.#start(command);
    await waitForPort('redis', '127.0.0.1', this.record.redisPort, command.log);
  }

  async startRegistry(): Promise<void> {
    const host = machineAddress(this.record);
    const command = registryCommand(this.folder, host, this.record.registryPort);
    await this.#start(command);
    await waitForPort('registry', host, this.record.registryPort, command.log);
  }

  /** Starts a control plane and waits until it serves. */
  async startControlPlane(index = 0): Promise<void> {
    const { record, folder } = this;
    const port = record.apiPorts[index]!;
    const advertised = `${machineAddress(record)}:${port}`;
    const name = `control-plane-${index}`;
    await this.#start({
      name,
      command: process.execPath,
      log: join(folder, `log/${name}.log`),
      args: [
        ...nodeFlags,
        programs.controlPlane,
        ...[
          '--listen',
          `127.0.0.1:${port},${advertised}`,
          '--advertise',
          advertised,
          '--http-listen',
          `127.0.0.1:${record.httpPorts[index]}`,
        ],
        ...['--etcd', `127.0.0.1:${record.etcdPort}`, '--redis', `127.0.0.1:${record.redisPort}`, '--id', `cp${index}`],
        ...['--data-dir', join(folder, 'control-plane'), '--context-file', this.contextFile, '--cluster-cidr', clusterCidr(record)],
        ...['--bootstrap-token-file', join(folder, 'join-token'), ...this.#controlPlaneArgs],
      ],
    });
    await this.ready(name);
  }

  /** Starts a node's agent; `ready` tells when its session is up. */
  async startAgent(node: number): Promise<void> {
    const folder = this.nodeFolder(node);
    await mountRunFolder(join(folder, 'run'));
    const name = `agent-n${node}`;
    const [command, ...enter] = this.onHost(node);
    const controlPlanes = this.record.apiPorts.map((port) => `${machineAddress(this.record)}:${port}`).join(',');
    await this.#start({
      name,
      command,
      log: join(this.folder, `log/${name}.log`),
      args: [
        ...enter,
        ...[
          process.execPath,
          ...nodeFlags,
          programs.agent,
          '--control-plane',
          controlPlanes,
          '--token-file',
          join(this.folder, 'join-token'),
        ],
        ...[
          '--name',
          `n${node}`,
          '--address',
          this.nodeAddress(node),
          '--data-dir',
          join(folder, 'data'),
          '--run-dir',
          join(folder, 'run'),
        ],
        ...[
          '--cgroup-parent',
          this.cgroupParent(node),
          '--capacity',
          this.record.capacity,
          '--labels',
          `zone=z${node}`,
          '--bridge',
          'gantry0',
        ],
        ...['--berth', programs.berth, '--netd', programs.netd, '--unpack', programs.unpack, '--insecure-registries', this.registry],
        ...this.#agentArgs,
      ],
    });
  }

  /** Waits for the newest `ready` line in a daemon's log. */
  async ready(name: string, timeoutMs = 20_000): Promise<void> {
    const own = this.process(name);
    const log = join(this.folder, `log/${name}.log`);
    const ready = () => {
      const text = readFileSync(log, 'utf8');
      return text.slice(text.lastIndexOf(startMarker)).includes('"msg":"ready"');
    };
    const ended = await waitUntil(() => ready() || !isAlive(own), timeoutMs);
    if (ended && isAlive(own)) return;
    const tail = readFileSync(log, 'utf8').trim().split('\n').slice(-5).join('\n');
    throw new GantryError(
      Code.unavailable,
      `cannot start "${name}": ${ended ? 'it ended' : `not ready after ${timeoutMs / 1000} s`}; ${log} ends with:\n${tail}`,
    );
  }

  /** Sends a signal to one of the cluster's processes and waits for its end when the signal ends it. */
  async kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const own = this.process(name);
    signalProcess(own, signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await waitUntil(() => !isAlive(own), 10_000);
  }

  /** Takes a host off the network, or brings it back. */
  async setLink(node: number, up: boolean): Promise<void> {
    await setLink(this.record, node, up);
  }

  /** Whether every process of the cluster is running. */
  complete(): boolean {
    const expected = 3 + this.record.apiPorts.length + this.record.nodes;
    const processes = Object.values(this.record.processes);
    return processes.length === expected && processes.every(isAlive);
  }

  alive(name: string): boolean {
    return isAlive(this.process(name));
  }

  /** Stops everything and leaves nothing behind: no process, mount, network namespace, cgroup or file. */
  async remove(options: { keepLogs?: boolean } = {}): Promise<void> {
    const processes = Object.values(this.record.processes);
    // agents first and hard, so that nobody restarts what is stopped below
    for (const own of processes.filter((one) => one.name.startsWith('agent-'))) await stopProcess(own, 'SIGKILL');
    for (const own of processes.filter((one) => !one.name.startsWith('agent-'))) await stopProcess(own, 'SIGTERM');
    await removeRemains(
      Array.from({ length: this.record.nodes }, (_, index) => ({
        folder: this.nodeFolder(index + 1),
        cgroup: this.cgroupParent(index + 1),
      })),
    );
    await removeFabric(this.record.id);
    if (!options.keepLogs) {
      rmSync(this.folder, { recursive: true, force: true });
      return;
    }
    rmSync(join(this.folder, 'cluster.json'), { force: true });
  }

  async #start(options: SpawnOptions): Promise<void> {
    mkdirSync(dirname(options.log), { recursive: true, mode: 0o700 });
    appendFileSync(options.log, `${startMarker}\n`, { mode: 0o600 });
    const own = spawnDetached(options);
    this.record.processes[options.name] = own;
    await this.#save();
  }

  /** One write after the other: the last one holds everything. */
  #save(): Promise<void> {
    this.#saving = this.#saving.then(() => this.#write());
    return this.#saving;
  }

  async #write(): Promise<void> {
    await writeFileAtomic(join(this.folder, 'cluster.json'), `${JSON.stringify(this.record, null, 2)}\n`);
  }
}
