import { type Clock, ManualClock, silentLogger } from '@gantry/common';
import {
  type Assignment,
  AssignmentDesired,
  ContainerSpec,
  ContainerState,
  ContainerStatus,
  type Event,
  Gateway,
  Leader,
  Machine,
  NodeSettings,
  Revision,
  RolloutRequestRecord,
  Service,
  type ServiceKey,
  ServiceSpec,
} from '@gantry/proto';
import { ClusterView, serviceId } from '../../cluster/view.ts';
import { keys } from '../../store/keys.ts';
import { MemoryStore } from '../../store/memory-store.ts';
import type { Write } from '../../store/store.ts';
import { startOrchestrator } from '../loop.ts';
import type { Orchestrator, Scheduler } from '../ports.ts';

/** What the containers of an image do once they are started. */
export type Behaviour = 'run' | 'crash' | 'unready' | 'complete' | 'reject' | 'stuck';

/** Makes a scheduler that follows a view; the planner may not know the real one. */
export type SchedulerFactory = (view: ClusterView, clock: Clock, signal: AbortSignal) => Scheduler;

const put = (key: string, value: Uint8Array): Write => ({ kind: 'put', key, value });

/** A key of the test app. */
export function keyOf(service: string): ServiceKey {
  return { namespace: 'default', app: 'shop', service };
}

/**
 * A cluster in memory: store, view, a leading orchestrator, and agents that do at once what they are told. Everything that waits goes
 * by the manual clock.
 */
export class TestCluster {
  readonly clock = new ManualClock();
  readonly store: MemoryStore;
  readonly view: ClusterView;
  readonly events: (Partial<Event> & Pick<Event, 'type' | 'message'>)[] = [];
  /** By image; those not named run. */
  readonly behaviours = new Map<string, Behaviour>();
  /** Nodes whose agents do nothing and are not heard. */
  readonly silent = new Set<string>();
  /** Called after every change of the view. */
  onChange: () => void = () => {};
  readonly #factory: SchedulerFactory;
  readonly #ended = new AbortController();
  #term: AbortController | undefined;
  #orchestrator: Orchestrator | undefined;
  #leaderStore: MemoryStore;
  #nextId = 1;
  #sequence = 1;
  #generations = new Map<string, number>();
  #writes: Promise<unknown> = Promise.resolve();

  constructor(factory: SchedulerFactory) {
    this.#factory = factory;
    this.store = new MemoryStore({ clock: this.clock });
    this.#leaderStore = this.store.connect();
    this.view = new ClusterView({ store: this.store, signal: this.#ended.signal });
    this.view.onChange((changes) => {
      for (const { collection, value } of changes) if (collection === 'assignments' && value) this.#act(value);
      this.onChange();
    });
  }

  /** The connection that the leader writes through, to order failures on. */
  get leaderStore(): MemoryStore {
    return this.#leaderStore;
  }

  end(): void {
    this.#term?.abort();
    this.#ended.abort();
  }

  /** A leader starts, the one before is dead. */
  async lead(): Promise<void> {
    this.#term?.abort();
    this.#leaderStore = this.store.connect();
    await this.write({ kind: 'delete', key: keys.leader() });
    await this.write(put(keys.leader(), Leader.encode(Leader.create({ id: 'leader' }))));
    const record = await this.store.get(keys.leader());
    const term = new AbortController();
    this.#term = term;
    // As in a process of its own: its view begins with a snapshot.
    const view = new ClusterView({ store: this.#leaderStore, signal: term.signal });
    await view.synced;
    this.#orchestrator = startOrchestrator({
      view,
      store: this.#leaderStore,
      fence: { kind: 'createRevision', key: keys.leader(), equals: record!.createRevision },
      clock: this.clock,
      scheduler: this.#factory(view, this.clock, term.signal),
      newId: () => `c${this.#nextId++}`,
      log: silentLogger(),
      emit: (event) => this.events.push(event),
      signal: term.signal,
    });
  }

  /** The leader dies at once. */
  kill(): void {
    this.#term?.abort();
    this.#orchestrator = undefined;
  }

  async write(...writes: Write[]): Promise<void> {
    const { revision } = await this.store.transact({ compare: [], writes });
    await this.view.atLeast(revision, this.#ended.signal);
  }

  /** Adds nodes of 4 cores and 8 GiB, or takes over what changed of them. */
  async node(name: string, settings: Partial<NodeSettings> = {}, machine: Partial<Machine> = {}): Promise<void> {
    await this.write(
      put(keys.gateway('g1'), Gateway.encode(Gateway.create({ id: 'g1' }))),
      put(keys.node(name), NodeSettings.encode(NodeSettings.create({ name, ...settings }))),
      put(
        keys.machine(name),
        Machine.encode(
          Machine.create({
            name,
            hostname: name,
            os: 'linux',
            arch: 'amd64',
            gateway: 'g1',
            capacity: { cpuMillis: 4000, memoryBytes: 8 * 2 ** 30, ioBytesPerSecond: 0, networkBytesPerSecond: 0 },
            ...machine,
          }),
        ),
      ),
    );
  }

  /** The node cannot be reached any more, or again; its agent then does what it is told. */
  async lose(name: string, lost = true): Promise<void> {
    if (lost) this.silent.add(name);
    else this.silent.delete(name);
    const machine = this.view.machines.get(name)!.value;
    await this.write(put(keys.machine(name), Machine.encode({ ...machine, lostAt: lost ? this.clock.nowUs() : 0 })));
    if (!lost) for (const { value } of this.view.assignmentsOn(name).values()) this.#act(value);
  }

  /** Applies a service: a new generation with its revision. The container's hash is that of its image and environment. */
  async apply(name: string, spec: Partial<ServiceSpec> = {}, image = 'good'): Promise<void> {
    const key = keyOf(name);
    const before = this.view.services.get(serviceId(key))?.value;
    const generation = (this.#generations.get(name) ?? 0) + 1;
    this.#generations.set(name, generation);
    const full = ServiceSpec.create({
      name,
      reservation: { cpuMillis: 500, memoryBytes: 2 ** 28, ioBytesPerSecond: 0, networkBytesPerSecond: 0 },
      ...spec,
      container: { ...ContainerSpec.create({ image }), ...spec.container, image },
    });
    const service = Service.create({
      key,
      spec: full,
      generation,
      uid: before && before.deletedAt === 0 ? before.uid : `${name}-${generation}`,
      createdAt: this.clock.nowUs(),
    });
    const hash = JSON.stringify([image, full.container?.environment]);
    const revision = Revision.create({ key, number: generation, spec: full, containerHash: hash });
    await this.write(put(keys.service(key), Service.encode(service)), put(keys.revision(key, generation), Revision.encode(revision)));
  }

  async remove(name: string): Promise<void> {
    const service = this.view.services.get(serviceId(keyOf(name)))!.value;
    await this.write(put(keys.service(keyOf(name)), Service.encode({ ...service, deletedAt: this.clock.nowUs() })));
  }

  async request(name: string, request: Partial<RolloutRequestRecord>): Promise<void> {
    const record = RolloutRequestRecord.create({ requestedAt: this.clock.nowUs(), requestedBy: 'tester', ...request });
    await this.write(put(keys.rolloutRequest(keyOf(name)), RolloutRequestRecord.encode(record)));
  }

  /** Lets everything happen that needs no time. */
  async settle(): Promise<void> {
    for (let quiet = 0, seen = -1; quiet < 4; ) {
      await new Promise((resolve) => setImmediate(resolve));
      await this.#writes;
      await this.#orchestrator?.idle();
      const revision = await this.store.connect().revision();
      quiet = revision === seen ? quiet + 1 : 0;
      seen = revision;
    }
  }

  /** Moves the clock on in small steps, letting everything happen in between. */
  async pass(ms: number, stepMs = 250): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      await this.clock.advance(Math.min(stepMs, left));
      await this.settle();
    }
  }

  /** Containers of a service. */
  containers(name: string): Assignment[] {
    return [...this.view.assignmentsOf(serviceId(keyOf(name))).values()].map(({ value }) => value);
  }

  /** Containers that run for users: wanted, reported running, on a node that is there. */
  running(name: string): Assignment[] {
    return this.containers(name).filter(({ id, desired, node }) => {
      const lost = (this.view.machines.get(node)?.value.lostAt ?? 0) > 0;
      return desired === AssignmentDesired.run && !lost && this.view.statuses.get(id)?.value.state === ContainerState.running;
    });
  }

  /** Ready containers. */
  ready(name: string): Assignment[] {
    return this.running(name).filter(({ id }) => this.view.statuses.get(id)?.value.ready);
  }

  rollout(name: string) {
    return this.view.rollouts.get(serviceId(keyOf(name)))?.value;
  }

  refusal(name: string) {
    return this.view.refusals.get(serviceId(keyOf(name)))?.value;
  }

  /** Reports a status as the node's agent would. */
  report(assignment: Pick<Assignment, 'id' | 'node'>, status: Partial<ContainerStatus>): void {
    const nowUs = this.clock.nowUs();
    const before = this.view.statuses.get(assignment.id)?.value;
    const next = ContainerStatus.create({
      ...before,
      id: assignment.id,
      node: assignment.node,
      updatedAt: nowUs,
      sequence: this.#sequence++,
      ...status,
    });
    this.#writes = this.#writes.then(async () => {
      if (!this.view.assignments.has(assignment.id)) return;
      await this.store.transact({ compare: [], writes: [put(keys.status(assignment.node, assignment.id), ContainerStatus.encode(next))] });
    });
  }

  #act(assignment: Assignment): void {
    if (this.silent.has(assignment.node)) return;
    const status = this.view.statuses.get(assignment.id)?.value;
    if (assignment.desired === AssignmentDesired.stop) {
      if (!status?.final)
        this.report(assignment, { state: ContainerState.complete, ready: false, final: true, finishedAt: this.clock.nowUs() });
      return;
    }
    if (!status) this.#start(assignment);
  }

  #start(assignment: Assignment): void {
    const nowUs = this.clock.nowUs();
    const running = { state: ContainerState.running, startedAt: nowUs };
    const failed = { startedAt: nowUs, finishedAt: nowUs, reason: 'exit code 1' };
    const outcomes: Record<Behaviour, Partial<ContainerStatus>> = {
      run: { ...running, ready: true },
      unready: { ...running, ready: false },
      crash: { ...failed, state: ContainerState.failed, restarts: 1, lastReason: 'exit code 1' },
      complete: { ...failed, state: ContainerState.complete, final: true, reason: 'exit code 0' },
      reject: { state: ContainerState.rejected, final: true, reason: 'no such image' },
      stuck: { state: ContainerState.preparing },
    };
    this.report(assignment, outcomes[this.behaviours.get(assignment.spec?.container?.image ?? '') ?? 'run']);
  }
}
