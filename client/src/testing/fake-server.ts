import { Code, GantryError } from '@gantry/common';
import {
  AppsService,
  ClusterService,
  type Connection,
  ContainersService,
  connect,
  EventsService,
  ExecService,
  type Handlers,
  ImagesService,
  implement,
  LogsService,
  NodesService,
  OperationsService,
  type ServiceDescriptor,
  ServicesService,
} from '@gantry/proto';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { clientOver, type GantryClient } from '../gantry-client.ts';

type Some<S extends ServiceDescriptor> = { -readonly [K in keyof Handlers<S>]?: Handlers<S>[K] };

/** Answers of the fake; methods that are left out answer unimplemented. */
export interface FakeAnswers {
  apps?: Some<typeof AppsService>;
  services?: Some<typeof ServicesService>;
  containers?: Some<typeof ContainersService>;
  nodes?: Some<typeof NodesService>;
  events?: Some<typeof EventsService>;
  logs?: Some<typeof LogsService>;
  exec?: Some<typeof ExecService>;
  images?: Some<typeof ImagesService>;
  operations?: Some<typeof OperationsService>;
  cluster?: Some<typeof ClusterService>;
}

const descriptors = {
  apps: AppsService,
  services: ServicesService,
  containers: ContainersService,
  nodes: NodesService,
  events: EventsService,
  logs: LogsService,
  exec: ExecService,
  images: ImagesService,
  operations: OperationsService,
  cluster: ClusterService,
} as const;

function complete<S extends ServiceDescriptor>(service: S, given: Some<S> = {}): Handlers<S> {
  const missing = Object.keys(service.methods).map((name) => {
    const refuse = () => {
      throw new GantryError(Code.unimplemented, `the fake does not answer ${service.name}.${name}`);
    };
    return [name, refuse] as const;
  });
  const all: Handlers<S> = { ...Object.fromEntries(missing), ...given };
  return all;
}

/** A server in this process that speaks the users' services in plain text; answers may be changed between calls. */
export class FakeServer {
  readonly answers: FakeAnswers;
  readonly client: GantryClient;
  readonly #server: Server;
  readonly #connection: Connection;

  private constructor(answers: FakeAnswers, server: Server, connection: Connection) {
    this.answers = answers;
    this.#server = server;
    this.#connection = connection;
    this.client = clientOver(connection, 'default');
  }

  static async start(answers: FakeAnswers = {}): Promise<FakeServer> {
    const server = new Server();
    const options = { authorize: () => undefined, onFailure: () => undefined };
    for (const [name, descriptor] of Object.entries(descriptors)) {
      const current = new Proxy<Handlers<ServiceDescriptor>>(
        {},
        {
          get:
            (_, method) =>
            (...parameters: unknown[]) => {
              const handlers = complete(descriptor as ServiceDescriptor, answers[name as keyof FakeAnswers] as Some<ServiceDescriptor>);
              return (handlers as Record<string | symbol, (...rest: unknown[]) => unknown>)[method]!(...parameters);
            },
        },
      );
      const { definition, implementation } = implement(descriptor as ServiceDescriptor, current, options);
      server.addService(definition, implementation);
    }
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
    });
    return new FakeServer(answers, server, connect({ address: `127.0.0.1:${port}` }));
  }

  stop(): void {
    this.#connection.close();
    this.#server.forceShutdown();
  }
}
