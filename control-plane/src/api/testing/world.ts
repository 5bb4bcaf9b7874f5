import { type Clock, Code, GantryError, silentLogger, systemClock } from '@gantry/common';
import {
  Assignment,
  type ClientOf,
  ContainerState,
  ContainerStatus,
  connect,
  createClient,
  Event,
  type ExecCommand,
  type ExecInput,
  ExecOutput,
  Gateway,
  JoinToken,
  type LogCommand,
  type LogEntry,
  Machine,
  NodeImage,
  NodeSettings,
  Operation,
  PullImageProgress,
  Resources,
  type ServiceDescriptor,
  type ServiceKey,
  Usage,
} from '@gantry/proto';
import { ServerCredentials } from '@grpc/grpc-js';
import { ClusterView } from '../../cluster/view.ts';
import type { Identity } from '../../security/authn.ts';
import { keys } from '../../store/keys.ts';
import { MemoryStore } from '../../store/memory-store.ts';
import type { Write } from '../../store/store.ts';
import type { AgentStreams, ApiDeps, PlannedService } from '../ports.ts';
import { createServer, createUserServices, requireModestMetadata } from '../server.ts';

/** Agents that say what a test told them to. */
class FakeStreams implements AgentStreams {
  readonly logLines = new Map<string, readonly LogEntry[]>();
  readonly commands: LogCommand[] = [];

  async *logs(node: string, command: LogCommand, signal: AbortSignal): AsyncGenerator<LogEntry, void, void> {
    this.commands.push(command);
    const lines = this.logLines.get(command.containerId);
    if (!lines) throw new GantryError(Code.unavailable, `the log of ${command.containerId} on ${node} cannot be read`);
    yield* lines;
    if (command.follow) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  /** Answers with the command line, then with each input until "exit". */
  async *exec(_node: string, command: ExecCommand, inputs: AsyncIterable<ExecInput>): AsyncGenerator<ExecOutput, void, void> {
    yield ExecOutput.create({ started: true });
    yield ExecOutput.create({ stdout: Buffer.from(`${command.containerId}: ${command.start?.command.join(' ')}\n`) });
    for await (const input of inputs) {
      if (input.stdin) yield ExecOutput.create({ stdout: input.stdin });
      if (input.stdinClosed) break;
    }
    yield ExecOutput.create({ exit: { exitCode: 3, error: '' } });
  }

  async *pull(node: string, reference: string): AsyncGenerator<PullImageProgress, void, void> {
    yield PullImageProgress.create({ node, digest: 'sha256:1', doneBytes: 5, totalBytes: 10 });
    if (node === 'n2') throw new GantryError(Code.notFound, `${reference} is not there`);
    yield PullImageProgress.create({ node, digest: 'sha256:1', doneBytes: 10, totalBytes: 10, finished: true });
  }

  async images(node: string): Promise<NodeImage[]> {
    return [NodeImage.create({ node, reference: 'web:1', digest: 'sha256:1', sizeBytes: 10 })];
  }
}

/** An API server on a store in memory, reached by real gRPC. */
export interface World {
  readonly store: MemoryStore;
  readonly view: ClusterView;
  readonly streams: FakeStreams;
  readonly events: Event[];
  readonly planned: PlannedService[][];
  readonly address: string;
  /** A client that calls as this user; namespace "*" is an operator. */
  client<S extends ServiceDescriptor>(service: S, user?: { name: string; namespace: string }): ClientOf<S>;
  /** Commits, and waits until the view shows it. */
  commit(...writes: Write[]): Promise<number>;
  /** Another server on the same data: another control plane. */
  another(): Promise<World>;
  close(): Promise<void>;
}

export interface WorldOptions {
  readonly clock?: Clock;
  readonly store?: MemoryStore;
}

/** Starts a world with an empty store, or one with what the given store has. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const store = options.store ?? new MemoryStore();
  const clock = options.clock ?? systemClock;
  const ended = new AbortController();
  const view = new ClusterView({ store, signal: ended.signal });
  await view.synced;
  const streams = new FakeStreams();
  const events: Event[] = [];
  const planned: PlannedService[][] = [];
  const deps: ApiDeps = { store, view, clock, streams, log: silentLogger(), ...fakes(events, planned, view) };
  const services = createUserServices(deps, {
    authorize: (call) => {
      requireModestMetadata(call);
      return identityOf(call.metadata.get('x-user')[0]);
    },
    onFailure: (path, error) => {
      throw new Error(`${path} failed`, { cause: error });
    },
  });
  const { server, setServing } = createServer(services);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  setServing(true);
  const address = `127.0.0.1:${port}`;
  const connection = connect({ address });
  return {
    store,
    view,
    streams,
    events,
    planned,
    address,
    client: (service, user = { name: 'ann', namespace: '*' }) => withUser(createClient(service, connection), user),
    commit: async (...writes) => {
      const { revision } = await store.transact({ compare: [], writes });
      await view.atLeast(revision, ended.signal);
      return revision;
    },
    another: () => startWorld({ ...options, store: store.connect() }),
    close: async () => {
      connection.close();
      server.forceShutdown();
      ended.abort();
      await store.close();
    },
  };
}

function identityOf(header: unknown): Identity {
  if (typeof header !== 'string') throw new GantryError(Code.unauthenticated, 'cannot call: no user');
  const [name = '', namespace = ''] = header.split('@');
  return { kind: 'user', name, namespace };
}

/** Calls carry the user in a header field. */
function withUser<C extends object>(client: C, { name, namespace }: { name: string; namespace: string }): C {
  const headers = { 'x-user': `${name}@${namespace}` };
  const bound = Object.entries(client).map(([method, call]) => [
    method,
    (request: object, settings: object = {}) => (call as (request: object, settings: object) => unknown)(request, { headers, ...settings }),
  ]);
  return Object.fromEntries(bound) as C;
}

function fakes(events: Event[], planned: PlannedService[][], view: ClusterView) {
  return {
    usage: {
      latest: (id: string) => (id === 'measured' ? Usage.create({ at: 1, cpuMillis: 250 }) : undefined),
      node: () => undefined,
      estimate: (id: string) => (id === 'measured' ? Resources.create({ cpuMillis: 300 }) : undefined),
    },
    planner: {
      plan: (services: readonly PlannedService[]) => {
        planned.push([...services]);
        return { placements: [], capacity: [], warnings: [] };
      },
      eligibleNodes: () => [...view.nodes.keys()],
    },
    operations: {
      submit: async (request: { requestId: string; kind: string; subject: string; createdBy: string }) =>
        Operation.create({ id: request.requestId, kind: request.kind, subject: request.subject, createdBy: request.createdBy }),
      cancel: async (id: string) => Operation.create({ ...view.operations.get(id)!.value, cancelRequested: true }),
    },
    windows: { history: async () => [Usage.create({ at: 1 })] },
    tokens: {
      create: async () => ({ token: 'gantry1.a.b.c', record: JoinToken.create({ id: 'b', secretHash: new Uint8Array([1]) }) }),
      list: async () => [JoinToken.create({ id: 'b', secretHash: new Uint8Array([1]) })],
      revoke: async () => {},
    },
    // turned around, so that a test sees whether the plain text is in the store
    sealer: { keyId: 'k1', seal: (plain: Uint8Array) => Buffer.from(plain).reverse() },
    events: {
      list: async () => events,
      watch: async function* () {
        yield* events;
      },
    },
    emit: (event: Partial<Event>) => {
      events.push(Event.create({ id: String(events.length), at: events.length, ...event }));
    },
    components: async () => [],
    version: '0.1.0',
  };
}

/** A node that is connected, or one whose gateway is gone. */
export function nodeWrites(name: string, init: { connected?: boolean } = {}): Write[] {
  const { connected = true } = init;
  return [
    { kind: 'put', key: keys.gateway(`g-${name}`), value: Gateway.encode(Gateway.create({ id: `g-${name}` })) },
    { kind: 'put', key: keys.node(name), value: NodeSettings.encode(NodeSettings.create({ name, certificateSerial: 's' })) },
    { kind: 'put', key: keys.machine(name), value: Machine.encode(Machine.create({ name, gateway: connected ? `g-${name}` : 'gone' })) },
  ];
}

export interface PlacedContainer {
  readonly key: ServiceKey;
  readonly node?: string;
  readonly slot?: number;
  readonly state?: ContainerState;
  readonly assignment?: Partial<Assignment>;
}

/** A container on a node with the agent's word on it. */
export function containerWrites(
  id: string,
  { key, node = 'n1', slot = 1, state = ContainerState.running, assignment = {} }: PlacedContainer,
): Write[] {
  const bound = Assignment.create({ id, key, node, slot, revision: 1, createdAt: 1, ...assignment });
  const status = ContainerStatus.create({
    id,
    node,
    state,
    ready: state === ContainerState.running,
    final: state === ContainerState.failed,
  });
  return [
    { kind: 'put', key: keys.assignment(node, id), value: Assignment.encode(bound) },
    { kind: 'put', key: keys.status(node, id), value: ContainerStatus.encode(status) },
  ];
}
