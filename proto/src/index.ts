export { fileDescriptorSet } from '../gen/descriptors.ts';
export * from '../gen/messages.ts';
export * from '../gen/services.ts';
export { type CallSettings, type ClientOf, type Connection, type ConnectOptions, connect, createClient, type TlsFiles } from './client.ts';
export type { Codec } from './codec.ts';
export {
  type CallContext,
  type Handlers,
  type ImplementOptions,
  implement,
  methodDefinition,
  type ServiceImplementation,
} from './server.ts';
export type { MessageOf, MethodDescriptor, MethodKind, RequestOf, ResponseOf, ServiceDescriptor } from './service.ts';
export { fromStatus, toStatus } from './status.ts';
