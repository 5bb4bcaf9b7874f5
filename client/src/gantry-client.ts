import {
  AppsService,
  type ClientOf,
  ClusterService,
  type Connection,
  ContainersService,
  connect,
  createClient,
  EventsService,
  ExecService,
  ImagesService,
  LogsService,
  NodesService,
  OperationsService,
  Page,
  ServicesService,
} from '@gantry/proto';
import { type Context, type FindContextOptions, findContext, readContext } from './context.ts';

/** Clients of all services over one connection; close it when done. */
export interface GantryClient {
  readonly namespace: string;
  readonly apps: ClientOf<typeof AppsService>;
  readonly services: ClientOf<typeof ServicesService>;
  readonly containers: ClientOf<typeof ContainersService>;
  readonly nodes: ClientOf<typeof NodesService>;
  readonly events: ClientOf<typeof EventsService>;
  readonly logs: ClientOf<typeof LogsService>;
  readonly exec: ClientOf<typeof ExecService>;
  readonly images: ClientOf<typeof ImagesService>;
  readonly operations: ClientOf<typeof OperationsService>;
  readonly cluster: ClientOf<typeof ClusterService>;
  close(): void;
}

/** Connects as a context says; the connection dials at the first call. */
export function openClient(context: Context): GantryClient {
  const { address, ca, certificate, key, namespace } = context;
  return clientOver(connect({ address, tls: { ca, certificate, key } }), namespace);
}

/**
 * Connects as the context says that is found first (see `findContext`).
 * @throws GantryError failedPrecondition when there is none that can be used.
 */
export function openContext(options: FindContextOptions = {}): GantryClient {
  return openClient(readContext(findContext(options)));
}

/** A client over a connection that is there already. */
export function clientOver(connection: Connection, namespace = 'default'): GantryClient {
  return {
    namespace,
    apps: createClient(AppsService, connection),
    services: createClient(ServicesService, connection),
    containers: createClient(ContainersService, connection),
    nodes: createClient(NodesService, connection),
    events: createClient(EventsService, connection),
    logs: createClient(LogsService, connection),
    exec: createClient(ExecService, connection),
    images: createClient(ImagesService, connection),
    operations: createClient(OperationsService, connection),
    cluster: createClient(ClusterService, connection),
    close: () => connection.close(),
  };
}

/** Every item of a paged list. */
export async function allPages<T>(fetch: (page: Page) => Promise<{ items: T[]; nextToken: string }>): Promise<T[]> {
  const items: T[] = [];
  let token = '';
  do {
    const answer = await fetch(Page.create({ size: 500, token }));
    items.push(...answer.items);
    token = answer.nextToken;
  } while (token !== '');
  return items;
}
