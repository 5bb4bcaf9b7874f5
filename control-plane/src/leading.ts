import { type Clock, GantryError, type Logger, newContainerId } from '@gantry/common';
import { startAutoscaler } from './autoscaler/loop.ts';
import type { UsageSource } from './autoscaler/ports.ts';
import type { ClusterView } from './cluster/view.ts';
import { bullQueue } from './operations/bull-queue.ts';
import { drain } from './operations/drain.ts';
import { OperationLoop } from './operations/loop.ts';
import type { EmitEvent } from './operations/ports.ts';
import { startOrchestrator } from './orchestrator/loop.ts';
import type { ClusterScheduler } from './scheduler/scheduler.ts';
import { startCompaction } from './store/compaction.ts';
import { campaign, type Term } from './store/leader.ts';
import type { Store } from './store/store.ts';

/** Operations by their kind. */
export const executors = { drain } as const;

export interface LeadOptions {
  id: string;
  address: string;
  /** "127.0.0.1:6379"; empty: there is no Redis. */
  redis: string;
  store: Store;
  view: ClusterView;
  scheduler: ClusterScheduler;
  usage: UsageSource;
  clock: Clock;
  log: Logger;
  random: () => number;
  emit: EmitEvent;
  signal: AbortSignal;
}

/** Stands for leadership until the signal aborts, and does the leader's work in each term. */
export async function lead(options: LeadOptions): Promise<void> {
  const { id, address, store, view, clock, log, random, emit, signal } = options;
  await view.synced;
  const onError = (error: GantryError) => log.debug({ err: error.message }, 'cannot stand for leadership, will try again');
  for await (const term of campaign({ store, id, address, clock, random, signal, onError })) {
    log.info({ revision: term.fence.equals }, 'this control plane leads');
    emit({ type: 'LeaderElected', message: `control plane ${id} leads`, subject: `control-plane/${id}` });
    await serve(options, term);
    log.info('this control plane does not lead any more');
  }
}

/** One term: plans, carries out operations and compacts, until it is lost. */
async function serve(options: LeadOptions, { fence, lost }: Term): Promise<void> {
  const { store, view, scheduler, usage, clock, log, emit, redis } = options;
  // what was written before this term must be seen before anything is planned
  await view.atLeast(fence.equals, lost).catch(() => undefined);
  if (lost.aborted) return;
  const orchestrator = startOrchestrator({ view, store, fence, clock, scheduler, newId: newContainerId, log, emit, signal: lost });
  const autoscaler = startAutoscaler({ view, store, fence, usage, clock, log, emit, signal: lost });
  const compaction = startCompaction({
    store,
    clock,
    fence,
    onError: (error) => log.debug({ err: GantryError.from(error).message }, 'cannot compact the store, will try again'),
  });
  const ports = { store, view, clock, log, emit, fence };
  const operations =
    redis === '' ? undefined : new OperationLoop({ ...ports, executors, openQueue: bullQueue({ address: redis, log }), signal: lost });
  await new Promise<void>((resolve) => {
    lost.addEventListener('abort', () => resolve(), { once: true });
    if (lost.aborted) resolve();
  });
  await Promise.all([orchestrator.stopped, autoscaler.stopped, compaction.stop(), operations?.stop()]);
}
