import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GantryError, ManualClock, silentLogger } from '@gantry/common';
import {
  Assignment,
  AssignmentDesired,
  ContainerHealth,
  ContainerSpec,
  ContainerState,
  type ContainerStatus,
  ServiceKey,
  ServiceSpec,
} from '@gantry/proto';
import type { Condition, Prober } from '../health/prober.ts';
import type { ImageHandle, ImageStore } from '../image/images.ts';
import { FakeNetwork } from '../network/fake-network.ts';
import type { NodeNetwork } from '../network/network.ts';
import { FakeRuntime } from '../runtime/fake.ts';
import type { ReconcilerOptions } from './loop.ts';
import { Reconciler } from './loop.ts';

/** An assignment as the control plane sends it; `container` and `service` change its spec. */
export function anAssignment(
  id: string,
  changes: Partial<Assignment> = {},
  service: Partial<ServiceSpec> = {},
  container: Partial<ContainerSpec> = {},
): Assignment {
  const spec = ServiceSpec.create({ name: 'web', container: ContainerSpec.create({ image: 'demo:1', ...container }), ...service });
  return Assignment.create({
    id,
    key: ServiceKey.create({ namespace: 'default', app: 'demo', service: 'web' }),
    slot: 1,
    node: 'n1',
    revision: 1,
    desired: AssignmentDesired.run,
    serviceUid: 'u1',
    spec,
    ...changes,
  });
}

/** An image without layers that runs "sleep". */
export function anImage(reference: string): ImageHandle {
  const config = { entrypoint: ['/bin/sleep'], cmd: ['1000'], env: [], workingDir: '', user: '', stopSignal: '', labels: {} };
  return {
    reference,
    digest: 'sha256:1',
    manifestDigest: 'sha256:1',
    layers: [],
    config: { ...config, exposedPorts: [], volumes: [], architecture: 'amd64', os: 'linux' },
    sizeBytes: 1,
  };
}

/** Probes that say what the test says. */
class FakeProber implements Pick<Prober, 'watch' | 'unwatch' | 'onChange'> {
  readonly watched = new Set<string>();
  #tell: (id: string, condition: Condition) => void = () => {};

  watch(id: string): Condition {
    this.watched.add(id);
    return { health: ContainerHealth.none, ready: true, reason: '' };
  }

  unwatch(id: string): void {
    this.watched.delete(id);
  }

  onChange(listener: (id: string, condition: Condition) => void): () => void {
    this.#tell = listener;
    return () => {};
  }

  say(id: string, condition: Partial<Condition>): void {
    this.#tell(id, { health: ContainerHealth.healthy, ready: true, reason: '', ...condition });
  }
}

/** One node with fakes all round and a clock that stands still; several reconcilers may live on it, one after the other. */
export class FakeNode {
  readonly clock = new ManualClock();
  readonly dataDir = mkdtempSync(join(tmpdir(), 'gantry-agent-reconcile-'));
  readonly runDir = join(this.dataDir, 'run');
  readonly prober = new FakeProber();
  readonly statuses: ContainerStatus[] = [];
  readonly removed: string[] = [];
  readonly desired = { assignments: new Map<string, Assignment>(), whole: true };
  network = new FakeNetwork();
  runtime = new FakeRuntime();
  link: 'unknown' | 'connected' | 'cutOff' = 'connected';
  nodeNetwork: NodeNetwork | undefined = { subnet: '10.64.1.0/24', clusterCidr: '10.64.0.0/12', clusterDomain: 'gantry.internal' };
  /** When set, images come late or never. */
  ensureImage: ImageStore['ensure'] | undefined;
  volumeFailure: GantryError | undefined;
  reconciler: Reconciler = this.#build();

  #build(): Reconciler {
    const options: ReconcilerOptions = {
      clock: this.clock,
      log: silentLogger(),
      runtime: this.runtime,
      images: {
        present: (reference) => (this.ensureImage ? undefined : anImage(reference)),
        ensure: (reference, ensure) => (this.ensureImage ? this.ensureImage(reference, ensure) : Promise.resolve(anImage(reference))),
      },
      volumes: {
        prepare: async () => {
          if (this.volumeFailure) throw this.volumeFailure;
          return [];
        },
        release: async () => {},
      },
      network: this.network,
      nodeNetwork: () => this.nodeNetwork,
      prober: this.prober,
      sampler: { track: () => {}, untrack: () => {} },
      statuses: { put: (status) => void this.statuses.push(status), removed: (id) => void this.removed.push(id) },
      remains: {
        keep: async (id) => {
          for (const folder of [this.dataDir, this.runDir]) rmSync(join(folder, 'containers', id), { recursive: true, force: true });
        },
      },
      facts: { name: 'n1', dataDir: this.dataDir, runDir: this.runDir, cgroupParent: '/gantry', disks: [] },
      desired: this.desired,
      link: () => this.link,
    };
    return new Reconciler(options);
  }

  async start(): Promise<void> {
    if (this.nodeNetwork) await this.network.start(this.nodeNetwork);
    await this.reconciler.start();
    await this.settle();
  }

  /** The agent is killed and another one starts; containers and files are as they were. */
  async restartAgent(): Promise<void> {
    this.runtime.close();
    await this.reconciler.close();
    this.runtime = new FakeRuntime(this.runtime.world);
    this.network = new FakeNetwork();
    this.statuses.length = 0;
    this.reconciler = this.#build();
    await this.start();
  }

  /** Changes what is desired and lets the node act on it. */
  async want(...assignments: Assignment[]): Promise<void> {
    for (const assignment of assignments) this.desired.assignments.set(assignment.id, assignment);
    this.reconciler.trigger();
    await this.settle();
  }

  async unwant(id: string): Promise<void> {
    this.desired.assignments.delete(id);
    this.reconciler.trigger();
    await this.settle();
  }

  /** Lets passes and the work they began run out, without moving the clock. */
  async settle(): Promise<void> {
    for (let round = 0; round < 6; round++) await this.clock.advance(0);
  }

  async advance(ms: number): Promise<void> {
    await this.clock.advance(ms);
    await this.settle();
  }

  /** Names of the states that were told of a container, in order, without repetition. */
  told(id: string): string[] {
    const names = Object.keys(ContainerState);
    const values = Object.values(ContainerState);
    const states = this.statuses.filter((status) => status.id === id).map((status) => names[values.indexOf(status.state)]!);
    return states.filter((state, index) => state !== states[index - 1]);
  }

  last(id: string): ContainerStatus {
    const status = this.statuses.findLast((one) => one.id === id);
    if (!status) throw new Error(`no status of ${id}`);
    return status;
  }

  async close(): Promise<void> {
    await this.reconciler.close();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}
