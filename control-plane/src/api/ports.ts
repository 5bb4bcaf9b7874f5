import type { Clock, Logger } from '@gantry/common';
import type {
  ComponentStatus,
  Event,
  ExecCommand,
  ExecInput,
  ExecOutput,
  JoinToken,
  LogCommand,
  LogEntry,
  NodeCapacity,
  NodeImage,
  Operation,
  PlannedPlacement,
  PullImageProgress,
  Resources,
  ServiceKey,
  ServiceSpec,
  Usage,
} from '@gantry/proto';
import type { ClusterView } from '../cluster/view.ts';
import type { Store } from '../store/store.ts';

/** Tells users what happened. */
type EmitEvent = (event: Partial<Event> & Pick<Event, 'type' | 'message'>) => void;

/** Empty fields match everything. */
interface EventFilter {
  readonly namespace: string;
  readonly app: string;
  readonly service: string;
  /** "node/n1", "container/1f2e…"; exact. */
  readonly subject: string;
  /** Microseconds since the epoch; 0: from the oldest kept. */
  readonly sinceUs: number;
}

/** What happened of late. */
interface EventSource {
  /** Matching events that are kept, oldest first; bounded by what is kept. */
  list(filter: EventFilter): Promise<readonly Event[]>;
  /** Matching events from `sinceUs` on (0: from now), until the signal aborts. */
  watch(filter: EventFilter, signal: AbortSignal): AsyncIterable<Event>;
}

/** The newest measurements that agents reported. */
export interface UsageSource {
  latest(containerId: string): Usage | undefined;
  node(name: string): Usage | undefined;
  /** What a container is expected to use; undefined when it is not assigned. */
  estimate(containerId: string): Resources | undefined;
}

/** Streams to agents. They throw `unavailable` when no session of the node is here. */
export interface AgentStreams {
  logs(node: string, command: LogCommand, signal: AbortSignal): AsyncIterable<LogEntry>;
  exec(node: string, command: ExecCommand, inputs: AsyncIterable<ExecInput>, signal: AbortSignal): AsyncIterable<ExecOutput>;
  pull(node: string, reference: string, signal: AbortSignal): AsyncIterable<PullImageProgress>;
  images(node: string, signal: AbortSignal): Promise<readonly NodeImage[]>;
}

/** One service as an apply would leave it. */
export interface PlannedService {
  readonly key: ServiceKey;
  readonly spec: ServiceSpec;
  /** Slots that need a new container; empty for global services, whose places the planner finds. */
  readonly slots: readonly number[];
  /** Containers that go: their reservations are free after. */
  readonly frees: readonly string[];
}

export interface PlacementPlan {
  readonly placements: readonly PlannedPlacement[];
  readonly capacity: readonly NodeCapacity[];
  readonly warnings: readonly string[];
}

/** The scheduler's dry run. */
export interface Planner {
  /** Where the containers of all services together would go; changes nothing. */
  plan(services: readonly PlannedService[]): PlacementPlan;
  /** Nodes that may take a container of the spec, room aside. */
  eligibleNodes(spec: ServiceSpec): readonly string[];
}

interface OperationRequest {
  /** Makes the operation's id, so that the same request has one operation; empty: a new one. */
  readonly requestId: string;
  /** "drain". */
  readonly kind: string;
  /** "node/n1". */
  readonly subject: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly createdBy: string;
}

/** Long work. Records of operations are read from the view. */
interface Operations {
  /** @throws GantryError unavailable while operations cannot be taken, failedPrecondition when the subject has one already. */
  submit(request: OperationRequest): Promise<Operation>;
  /** @throws GantryError notFound, failedPrecondition when it has ended. */
  cancel(id: string, by: string): Promise<Operation>;
}

/** What usage history is about. */
export type UsageSubject =
  | { readonly kind: 'node'; readonly name: string }
  | { readonly kind: 'container'; readonly id: string }
  /** "ns/app/service": the sum over its containers. */
  | { readonly kind: 'service'; readonly id: string };

/** Usage over time. */
interface UsageWindows {
  /** Points oldest first, at most 1000. @throws GantryError unavailable when there is no history store. */
  history(subject: UsageSubject, sinceUs: number, stepUs: number, signal: AbortSignal): Promise<readonly Usage[]>;
}

/** Join tokens. */
interface TokenIssuer {
  create(options: { ttlUs?: number; uses?: number; description?: string }): Promise<{ token: string; record: JoinToken }>;
  list(): Promise<readonly JoinToken[]>;
  /** @throws GantryError notFound */
  revoke(id: string): Promise<void>;
}

/** Seals the content of secrets. */
interface SecretSealer {
  readonly keyId: string;
  /** @param context the record's key. */
  seal(plain: Uint8Array, context: string): Uint8Array;
}

/** Everything that the users' services act through. */
export interface ApiDeps {
  readonly store: Store;
  /** Must be synced before the first call is served. */
  readonly view: ClusterView;
  readonly clock: Clock;
  readonly log: Logger;
  readonly usage: UsageSource;
  readonly streams: AgentStreams;
  readonly planner: Planner;
  readonly operations: Operations;
  readonly windows: UsageWindows;
  readonly tokens: TokenIssuer;
  readonly sealer: SecretSealer;
  readonly events: EventSource;
  readonly emit: EmitEvent;
  /** State of the parts that the control plane depends on, for `Cluster.Status`. */
  readonly components: (signal: AbortSignal) => Promise<readonly ComponentStatus[]>;
  /** Of the program. */
  readonly version: string;
}
