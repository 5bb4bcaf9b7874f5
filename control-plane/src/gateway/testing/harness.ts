import { ManualClock, silentLogger } from '@gantry/common';
import {
  AgentsService,
  Assignment,
  type Connection,
  type ContainerStatus,
  connect,
  type Event,
  implement,
  Machine,
  NodeSettings,
  Service,
  ServiceSpec,
} from '@gantry/proto';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { ClusterView } from '../../cluster/view.ts';
import type { Identity } from '../../security/authn.ts';
import { keys } from '../../store/keys.ts';
import { MemoryStore } from '../../store/memory-store.ts';
import type { Write } from '../../store/store.ts';
import { createAgentsHandlers } from '../agents-service.ts';
import { Gateway } from '../gateway.ts';
import type { GatewayOptions } from '../ports.ts';
import { FakeAgent, type FakeAgentOptions } from './fake-agent.ts';

export const web = { namespace: 'default', app: 'shop', service: 'web' };

/** A gateway on a store in memory, served in plain text on loopback; a header names the node that calls. */
export interface Harness {
  store: MemoryStore;
  view: ClusterView;
  clock: ManualClock;
  gateway: Gateway;
  events: (Partial<Event> & { type: string })[];
  connection: Connection;
  agent(node: string, options?: Partial<FakeAgentOptions>): FakeAgent;
  /** An agent with an active session. */
  connected(node: string, options?: Partial<FakeAgentOptions>): Promise<FakeAgent>;
  put(...writes: Write[]): Promise<void>;
  assign(init: Partial<Assignment> & { id: string; node: string }): Promise<void>;
  status(id: string): Promise<ContainerStatus | undefined>;
  machine(node: string): Promise<Machine | undefined>;
  /** Waits until a condition on the view holds. */
  until(condition: () => boolean): Promise<void>;
  /** Resolves once everything written so far is in the view. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

export interface HarnessOptions {
  id?: string;
  store?: MemoryStore;
  clock?: ManualClock;
  nodes?: readonly string[];
}

export async function startHarness(options: HarnessOptions = {}): Promise<Harness> {
  const clock = options.clock ?? new ManualClock();
  const store = options.store ?? new MemoryStore({ clock });
  const events: Harness['events'] = [];
  const ended = new AbortController();
  const put = async (...writes: Write[]) => void (await store.transact({ compare: [], writes }));
  for (const name of options.nodes ?? ['n1', 'n2', 'n3']) {
    await put({ kind: 'put', key: keys.node(name), value: NodeSettings.encode(NodeSettings.create({ name })) });
  }
  await put(serviceWrite());
  const view = new ClusterView({ store, signal: ended.signal });
  await view.synced;
  const gatewayOptions: GatewayOptions = {
    id: options.id ?? 'g1',
    address: `${options.id ?? 'g1'}:7400`,
    store,
    view,
    clock,
    log: silentLogger(),
    random: () => 0.5,
    emit: (event) => void events.push(event),
    enrolment: { enroll: () => Promise.reject(new Error('unused')), renew: () => Promise.reject(new Error('unused')) },
    openSecret: (sealed) => Buffer.from(sealed).map((byte) => byte ^ 0xff),
    clusterCidr: '10.64.0.0/12',
    clusterDomain: 'gantry.internal',
  };
  const gateway = new Gateway(gatewayOptions);
  const server = new Server();
  const service = implement(AgentsService, createAgentsHandlers(gateway, gatewayOptions), {
    authorize: (call): Identity => ({ kind: 'node', name: String(call.metadata.get('node')[0]) }),
    onFailure: (path, error) => {
      throw new Error(`${path}: ${error.stack}`);
    },
  });
  server.addService(service.definition, service.implementation);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  const connection = connect({ address: `127.0.0.1:${port}` });
  const agent = (node: string, init: Partial<FakeAgentOptions> = {}) => new FakeAgent(connection, { node, headers: { node }, ...init });
  const settled = async () => await view.atLeast(await store.revision(), ended.signal);
  const read = async <T>(key: string, codec: { decode(bytes: Uint8Array): T }) => {
    const item = await store.get(key);
    return item && codec.decode(item.value);
  };
  return {
    store,
    view,
    clock,
    gateway,
    events,
    connection,
    agent,
    connected: async (node, init) => {
      const made = agent(node, init);
      made.hello();
      await made.next((message) => message.assignments?.snapshot);
      await settled();
      return made;
    },
    put,
    assign: async (init) => {
      const assignment = Assignment.create({ key: web, slot: 1, ...init });
      await put({ kind: 'put', key: keys.assignment(init.node, init.id), value: Assignment.encode(assignment) });
      await settled();
    },
    status: async (id) => view.statuses.get(id)?.value,
    machine: (node) => read(keys.machine(node), Machine),
    until: (condition) =>
      new Promise((resolve) => {
        if (condition()) return resolve();
        const stop = view.onChange(() => {
          if (!condition()) return;
          stop();
          resolve();
        });
      }),
    settled,
    close: async () => {
      await gateway.stop();
      ended.abort();
      connection.close();
      server.forceShutdown();
    },
  };
}

function serviceWrite(init: Partial<ServiceSpec> = {}): Write {
  const spec = ServiceSpec.create({ name: web.service, ports: [{ target: 80, published: 8080, protocol: 0 }], ...init });
  return { kind: 'put', key: keys.service(web), value: Service.encode(Service.create({ key: web, spec, generation: 1 })) };
}
