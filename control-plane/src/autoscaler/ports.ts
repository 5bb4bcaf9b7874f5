import type { Clock, Logger } from '@gantry/common';
import type { Event, Usage } from '@gantry/proto';
import type { ClusterView } from '../cluster/view.ts';
import type { Comparison, Store } from '../store/store.ts';

/** The newest measurements that agents reported. */
export interface UsageSource {
  latest(containerId: string): Usage | undefined;
}

/** Tells users what happened. */
type EmitEvent = (event: Partial<Event> & Pick<Event, 'type' | 'message'>) => void;

/** Everything that the autoscaler acts through; one per leadership term. */
export interface AutoscalerOptions {
  /** Must be synced. */
  view: ClusterView;
  store: Store;
  /** Part of every write: fails once another leads. */
  fence: Comparison;
  usage: UsageSource;
  clock: Clock;
  log: Logger;
  emit: EmitEvent;
  /** Aborted when the term ends. */
  signal: AbortSignal;
}
