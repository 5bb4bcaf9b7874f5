import { GantryError, type Logger } from '@gantry/common';
import type { JobQueue, OpenQueue } from './ports.ts';

export interface BullQueueOptions {
  /** "127.0.0.1:6379" */
  address: string;
  log: Logger;
}

const name = 'gantry-operations';
/** A worker that has not renewed its lock for this long has lost its jobs to another. */
const lockMs = 5000;
const concurrency = 20;

/**
 * A queue on Redis by BullMQ, which is loaded when the first operation comes. Jobs are named by their operation, so that
 * there is one at most, and go when they end: the record is kept elsewhere.
 */
export function bullQueue({ address, log }: BullQueueOptions): OpenQueue {
  return async (run) => {
    const { Queue, Worker } = await import('bullmq');
    const colon = address.lastIndexOf(':');
    const connection = {
      host: address.slice(0, colon).replaceAll(/[[\]]/g, ''),
      port: Number(address.slice(colon + 1)),
      retryStrategy: (times: number) => Math.min(2000, 100 * 2 ** Math.min(times, 5)),
      connectTimeout: 3000,
    };
    const quiet = (error: Error) => log.debug({ err: error.message }, 'the queue of operations reports a fault');
    const queue = new Queue<object>(name, {
      connection: { ...connection, enableOfflineQueue: false, maxRetriesPerRequest: 0, commandTimeout: 3000 },
      defaultJobOptions: { removeOnComplete: true, removeOnFail: true, attempts: 1 },
      skipWaitingForReady: true,
    });
    queue.on('error', quiet);
    const worker = new Worker<object>(
      name,
      async (job) => {
        await run(job.id!);
      },
      {
        connection: { ...connection, maxRetriesPerRequest: null },
        concurrency,
        lockDuration: lockMs,
        stalledInterval: lockMs,
        // a job whose worker died goes to another however often that happens
        maxStalledCount: 1_000_000,
        removeOnComplete: { count: 0 },
        removeOnFail: { count: 0 },
      },
    );
    worker.on('error', quiet);
    worker.on('failed', (job, error) =>
      log.warn({ operation: job?.id, err: GantryError.from(error).message }, 'an operation failed, it will be tried again'),
    );
    const opened: JobQueue = {
      ensure: async (ids) => {
        await queue.addBulk(ids.map((id) => ({ name: 'operation', data: {}, opts: { jobId: id } })));
      },
      close: async () => {
        // without Redis nothing can be told to it: connections end all the same
        await Promise.race([worker.close(true), new Promise((resolve) => setTimeout(resolve, 1000).unref())]);
        await queue.disconnect().catch(() => undefined);
        await worker.disconnect().catch(() => undefined);
      },
    };
    return opened;
  };
}
