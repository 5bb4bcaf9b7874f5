import type { Clock, Logger } from '@gantry/common';
import type { Event, NodeScore, Refusal, ServiceSpec } from '@gantry/proto';
import type { ClusterView } from '../cluster/view.ts';
import type { Comparison, Store } from '../store/store.ts';

/** Containers of one service and revision that need nodes. */
export interface PlaceRequest {
  /** "namespace/app/service". */
  readonly service: string;
  readonly spec: ServiceSpec;
  /** Containers that the service wants in all. */
  readonly replicas: number;
  /** Ids of the containers to place. */
  readonly ids: readonly string[];
  /** The one node that can take them, and why. */
  readonly pin?: { readonly node: string; readonly reason: string };
  /** How often the service failed on a node of late. */
  readonly crashes?: ReadonlyMap<string, number>;
  /** Also tell how the nodes were scored. */
  readonly scores?: boolean;
}

export interface PlaceOutcome {
  readonly placed: readonly { readonly id: string; readonly node: string; readonly scores: NodeScore[] }[];
  /** Ids that found no place. */
  readonly refused: readonly string[];
  /** Why those found none, with what would help; costs some milliseconds on large clusters. */
  readonly explain: (sinceUs: number) => Refusal;
}

/** Finds nodes. What it places counts against the nodes at once, until it is released or the view shows otherwise. */
export interface Scheduler {
  /** @throws GantryError invalidArgument when the spec asks for something that cannot be read. */
  place(request: PlaceRequest): PlaceOutcome;
  /** Ids of running containers of lower priority that would have to stop so that the missing ones find room; mostly none. */
  makeRoom(request: Pick<PlaceRequest, 'service' | 'spec' | 'replicas' | 'pin'> & { readonly missing: number }): string[];
  /** Takes back a placement that was not committed. */
  release(service: string, id: string): void;
  /** Takes back everything that the view does not show. */
  reset(): void;
  /** Nodes that may take a container of the spec now, room aside. */
  eligibleNodes(spec: ServiceSpec): string[];
  /** Whether a container of the spec may go on running there: constraints hold, and no taint drives it out. */
  mayStay(spec: ServiceSpec, node: string): boolean;
}

/** Tells users what happened. */
export type EmitEvent = (event: Partial<Event> & Pick<Event, 'type' | 'message'>) => void;

/** Everything that the orchestrator acts through; one per leadership term. */
export interface OrchestratorOptions {
  /** Must be synced, and must have been followed by the scheduler, before the orchestrator starts. */
  view: ClusterView;
  store: Store;
  /** Part of every write: fails once another leads. */
  fence: Comparison;
  clock: Clock;
  scheduler: Scheduler;
  /** A new container's id. */
  newId: () => string;
  log: Logger;
  emit: EmitEvent;
  /** Aborted when the term ends. */
  signal: AbortSignal;
}

/** A running orchestrator. */
export interface Orchestrator {
  /** Resolves when no evaluation runs any more, after the signal. */
  readonly stopped: Promise<void>;
  /** Resolves when nothing is evaluated or committed before a timer or a change; for tests. */
  idle(): Promise<void>;
}
