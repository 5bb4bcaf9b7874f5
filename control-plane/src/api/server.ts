import { Code, GantryError } from '@gantry/common';
import {
  AppsService,
  type CallContext,
  ClusterService,
  ContainersService,
  EventsService,
  ExecService,
  fileDescriptorSet,
  ImagesService,
  type ImplementOptions,
  implement,
  LogsService,
  NodesService,
  OperationsService,
  type ServiceImplementation,
  ServicesService,
} from '@gantry/proto';
import { type ChannelOptions, Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import type { Identity } from '../security/authn.ts';
import { createAppsApi } from './apps.ts';
import { createClusterApi } from './cluster.ts';
import { createContainersApi } from './containers.ts';
import { createApi } from './context.ts';
import { createEventsApi } from './events.ts';
import { createExecApi } from './exec.ts';
import { createImagesApi } from './images.ts';
import { createLogsApi } from './logs.ts';
import { createNodesApi } from './nodes.ts';
import { createOperationsApi } from './operations.ts';
import type { ApiDeps } from './ports.ts';
import { createServicesApi } from './services.ts';

const mebibyte = 1024 * 1024;
const metadataBytes = 16 * 1024;

/** Limits of every connection. A client that pings too fast or leaves too much unread is dropped. */
const channelOptions: ChannelOptions = {
  'grpc.max_receive_message_length': 4 * mebibyte,
  'grpc.max_send_message_length': 16 * mebibyte,
  'grpc.max_concurrent_streams': 256,
  'grpc-node.max_session_memory': 32,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.max_connection_idle_ms': 600_000,
  'grpc.enable_channelz': 0,
};

/** All services for users; no call may reach them before the view is synced. */
export function createUserServices(deps: ApiDeps, options: ImplementOptions<Identity>): ServiceImplementation[] {
  const api = createApi(deps);
  return [
    implement(AppsService, createAppsApi(api), options),
    implement(ServicesService, createServicesApi(api), options),
    implement(ContainersService, createContainersApi(api), options),
    implement(NodesService, createNodesApi(api), options),
    implement(EventsService, createEventsApi(api), options),
    implement(LogsService, createLogsApi(api), options),
    implement(ExecService, createExecApi(api), options),
    implement(ImagesService, createImagesApi(api), options),
    implement(OperationsService, createOperationsApi(api), options),
    implement(ClusterService, createClusterApi(api), options),
  ];
}

/** A server that is not bound yet. */
export interface ApiServer {
  readonly server: Server;
  /** What gRPC's health service answers; not serving at first. */
  readonly setServing: (serving: boolean) => void;
}

/** A gRPC server with health, reflection and the given services, within the limits of a public server. */
export function createServer(services: readonly ServiceImplementation[]): ApiServer {
  const server = new Server(channelOptions);
  for (const { definition, implementation } of services) server.addService(definition, implementation);
  const health = new HealthImplementation({ '': 'NOT_SERVING' });
  health.addToServer(server);
  new ReflectionService(describedFiles()).addToServer(server);
  return { server, setServing: (serving) => health.setStatus('', serving ? 'SERVING' : 'NOT_SERVING') };
}

/** @throws GantryError resourceExhausted for header fields of more than 16 KiB; called before a caller is identified. */
export function requireModestMetadata({ metadata }: Pick<CallContext, 'metadata'>): void {
  let bytes = 0;
  for (const [key, values] of Object.entries(metadata.toHttp2Headers())) {
    for (const value of Array.isArray(values) ? values : [values]) bytes += key.length + String(value).length + 32;
  }
  if (bytes <= metadataBytes) return;
  throw new GantryError(
    Code.resourceExhausted,
    `cannot take the call: its header fields must be at most ${metadataBytes} bytes, found ${bytes}`,
    {
      retryable: false,
    },
  );
}

type Described = ConstructorParameters<typeof ReflectionService>[0];

/** Our proto files in the form that the reflection service reads. */
function describedFiles(): Described {
  const files = splitFiles(Buffer.from(fileDescriptorSet, 'base64'));
  return { gantry: { fileDescriptorProtos: files, format: '', type: {} } } as unknown as Described;
}

/** A FileDescriptorSet is field 1 repeated: tag, length, file. */
function splitFiles(set: Buffer): Buffer[] {
  const files: Buffer[] = [];
  let at = 0;
  while (at < set.length) {
    at++;
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = set[at++]!;
      length += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    files.push(set.subarray(at, at + length));
    at += length;
  }
  return files;
}
