import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GantryError } from '@gantry/common';
import { type CreateOptions, demoImages, installation, LocalCluster, publishImages } from '@gantry/deploy';
import {
  AppsService,
  type ClientOf,
  ClusterService,
  type Connection,
  type Container,
  ContainerState,
  ContainersService,
  connect,
  createClient,
  EventsService,
  ExecService,
  ListContainersRequest,
  LogsService,
  NodesService,
  OperationsService,
  Page,
  type ServiceDescriptor,
  ServicesService,
  WatchContainersRequest,
} from '@gantry/proto';

/** The context file that the control plane writes for the local user. */
interface Context {
  address: string;
  ca: string;
  certificate: string;
  key: string;
}

export interface CliResult {
  status: number;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  input?: string;
  env?: Record<string, string>;
  timeoutMs?: number;
}

/** A local cluster for one test file, with clients and the command line; its folder is a temporary one. */
export class TestCluster {
  readonly cluster: LocalCluster;
  readonly #connections = new Map<string, Connection>();

  private constructor(cluster: LocalCluster) {
    this.cluster = cluster;
  }

  static async start(options: Omit<CreateOptions, 'folder'> = {}): Promise<TestCluster> {
    const folder = mkdtempSync(join(tmpdir(), 'gantry-cluster-'));
    const cluster = await LocalCluster.create({ folder, ...options });
    const test = new TestCluster(cluster);
    try {
      const images = demoImages(join(installation, 'deploy/demo'));
      await publishImages(images, join(folder, 'build'), cluster.registry);
      return test;
    } catch (error) {
      await test.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    for (const connection of this.#connections.values()) connection.close();
    await this.cluster.remove();
    rmSync(this.cluster.folder, { recursive: true, force: true });
  }

  /** A client of a service at one of the control planes. */
  client<S extends ServiceDescriptor>(service: S, controlPlane = 0): ClientOf<S> {
    const address = `127.0.0.1:${this.cluster.record.apiPorts[controlPlane]}`;
    let connection = this.#connections.get(address);
    if (!connection) {
      const { ca, certificate, key } = JSON.parse(readFileSync(this.cluster.contextFile, 'utf8')) as Context;
      connection = connect({ address, tls: { ca, certificate, key } });
      this.#connections.set(address, connection);
    }
    return createClient(service, connection);
  }

  get apps() {
    return this.client(AppsService);
  }
  get services() {
    return this.client(ServicesService);
  }
  get nodes() {
    return this.client(NodesService);
  }
  get events() {
    return this.client(EventsService);
  }
  get logs() {
    return this.client(LogsService);
  }
  get exec() {
    return this.client(ExecService);
  }
  get operations() {
    return this.client(OperationsService);
  }
  get status() {
    return this.client(ClusterService);
  }

  /** Runs the gantry command as a user would. */
  cli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
    const env = {
      ...process.env,
      NO_COLOR: '1',
      GANTRY_CONTEXT: this.cluster.contextFile,
      REGISTRY: this.cluster.registry,
      ...options.env,
    };
    return new Promise((resolve) => {
      const child = execFile(
        join(installation, 'bin/gantry'),
        [...args],
        { env, timeout: options.timeoutMs ?? 90_000, maxBuffer: 64 << 20, killSignal: 'SIGKILL' },
        (error, stdout, stderr) => {
          const status = error ? (typeof error.code === 'number' ? error.code : 255) : 0;
          resolve({ status, stdout, stderr });
        },
      );
      child.stdin?.on('error', () => undefined); // a command that reads nothing closes its end
      child.stdin?.end(options.input ?? '');
    });
  }

  /** `gantry apply` of a manifest given as text; fails the test unless it exits 0. */
  async apply(manifest: string, ...args: string[]): Promise<CliResult> {
    const result = await this.cli(['apply', '-f', '-', ...args], { input: manifest });
    if (result.status !== 0) throw new Error(`apply exited ${result.status}: ${result.stdout}${result.stderr}`);
    return result;
  }

  /** Every container that is to run or still exists. */
  async containers(filter: Partial<ListContainersRequest> = {}): Promise<Container[]> {
    const found: Container[] = [];
    let token = '';
    do {
      const answer = await this.client(ContainersService).list(
        ListContainersRequest.create({ ...filter, page: Page.create({ size: 500, token }) }),
      );
      found.push(...answer.containers);
      token = answer.nextToken;
    } while (token);
    return found;
  }

  async running(filter: Partial<ListContainersRequest> = {}): Promise<Container[]> {
    return (await this.containers(filter)).filter((container) => container.state === ContainerState.running);
  }

  /**
   * Waits on the watch of containers until the check holds of all that exist; goes on over a control plane that
   * dies and comes back.
   */
  async until(
    what: string,
    check: (containers: Container[]) => boolean,
    timeoutMs = 30_000,
    filter: Partial<WatchContainersRequest> = {},
  ): Promise<Container[]> {
    const deadline = performance.now() + timeoutMs;
    let seen: Container[] = [];
    while (performance.now() < deadline) {
      const remaining = deadline - performance.now();
      try {
        const found = await this.#watchUntil(filter, remaining, (containers) => {
          seen = containers;
          return check(containers);
        });
        if (found) return found;
      } catch (error) {
        const { code } = GantryError.from(error);
        if (![1, 4, 14].includes(code)) throw error;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const states = seen
      .map((one) => `${one.name}@${one.node || '-'}:${stateName(one)}${one.reason ? ` (${one.reason})` : ''}`)
      .join('\n  ');
    throw new Error(`not within ${timeoutMs} ms: ${what}\n  ${states}`);
  }

  async #watchUntil(
    filter: Partial<WatchContainersRequest>,
    limitMs: number,
    check: (containers: Container[]) => boolean,
  ): Promise<Container[] | undefined> {
    const known = new Map<string, Container>();
    let synced = false;
    const events = this.client(ContainersService).watch(WatchContainersRequest.create(filter), { deadlineMs: limitMs });
    for await (const event of events) {
      if (event.container) {
        const key = event.container.id || event.container.name;
        if (event.removed) known.delete(key);
        else known.set(key, event.container);
      }
      synced ||= event.synced;
      const all = [...known.values()];
      if (synced && check(all)) return all;
    }
    return undefined;
  }
}

function stateName(container: Container): string {
  return Object.keys(ContainerState)[container.state] ?? '?';
}

export const isRunning = (container: Container): boolean => container.state === ContainerState.running;

/** A check for `until`: exactly this many of a service run, and nothing else of it exists. */
export function exactly(count: number, service?: string): (containers: Container[]) => boolean {
  return (containers) => {
    const ours = containers.filter((one) => service === undefined || one.service === service);
    return ours.length === count && ours.every(isRunning);
  };
}

/** Whether a process is there (a zombie is not). */
export function processExists(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** A manifest of one service that sleeps. */
export function sleepers(
  cluster: LocalCluster,
  options: { app?: string; service?: string; replicas?: number; extra?: string } = {},
): string {
  const { app = 'test', service = 'sleeper', replicas = 1, extra = '' } = options;
  return `name: ${app}
services:
  ${service}:
    image: ${cluster.registry}/gantry/busybox:1
    command: ["sleep", "86400"]
    init: true
    stop_grace_period: 1s
    deploy:
      replicas: ${replicas}
      resources: { reservations: { cpus: "0.01", memory: 4M } }
${extra.replace(/^/gm, '    ')}
`;
}
