import type { Clock, Logger } from '@gantry/common';
import type { Event } from '@gantry/proto';
import type { ClusterView } from '../cluster/view.ts';
import type { Comparison, Store } from '../store/store.ts';

/** Tells users what happened. */
export type EmitEvent = (event: Partial<Event> & Pick<Event, 'type' | 'message'>) => void;

/** What an operation acts through; one per leadership term. */
export interface OperationPorts {
  store: Store;
  view: ClusterView;
  clock: Clock;
  log: Logger;
  emit: EmitEvent;
  /** Part of every write: fails once another leads. */
  fence: Comparison;
}

/** Carries one kind of operation on from wherever it stands to its end; running it twice does no harm. */
export type Executor = (id: string, ports: OperationPorts, signal: AbortSignal) => Promise<void>;

/** Brings the ids of unfinished operations to executors, at least once each. */
export interface JobQueue {
  /** Sees to it that there is a job for each; one that is there already stays. @throws while the queue is away. */
  ensure(ids: readonly string[]): Promise<void>;
  /** Takes no new jobs, and waits until those that run have seen their signal. */
  close(): Promise<void>;
}

/** @param run called for each job. */
export type OpenQueue = (run: (id: string) => Promise<void>) => Promise<JobQueue>;
