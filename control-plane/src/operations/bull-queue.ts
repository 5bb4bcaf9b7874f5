import { Code, GantryError, type Logger } from '@gantry/common';
import type { Queue, Worker } from 'bullmq';
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
const openMs = 3000;

/**
 * A queue on Redis by BullMQ, which is loaded when the first operation comes. Jobs are named by their operation, so that
 * there is one at most, and go when they end: the record is kept elsewhere.
 */
export function bullQueue({ address, log }: BullQueueOptions): OpenQueue {
  return async (run) => {
    const { Queue, Worker } = await import('bullmq');
    const colon = address.lastIndexOf(':');
    let isClosed = false;
    const connection = {
      host: address.slice(0, colon).replaceAll(/[[\]]/g, ''),
      port: Number(address.slice(colon + 1)),
      // connections of a queue that is closed while Redis is away must end too
      retryStrategy: (times: number) => (isClosed ? null : Math.min(2000, 100 * 2 ** Math.min(times, 5))),
      connectTimeout: openMs,
    };
    const queue = new Queue<object>(name, {
      // a call made while Redis is away fails after one more try
      connection: { ...connection, maxRetriesPerRequest: 1 },
      defaultJobOptions: { removeOnComplete: true, removeOnFail: true, attempts: 1 },
      skipWaitingForReady: true,
    });
    const worker = new Worker<object>(name, async (job) => await run(job.id!), {
      connection: { ...connection, maxRetriesPerRequest: null },
      concurrency,
      lockDuration: lockMs,
      stalledInterval: lockMs,
      // a job whose worker died goes to another however often that happens
      maxStalledCount: 1_000_000,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    });
    listen(queue, worker, log);
    const close = async () => {
      isClosed = true;
      await soon(worker.close(true), 1000);
      await soon(queue.disconnect(), 1000);
      await soon(worker.disconnect(), 1000);
    };
    try {
      await soon(Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]), openMs);
    } catch (error) {
      await close().catch(() => undefined);
      throw new GantryError(Code.unavailable, `cannot open the queue of operations: Redis at ${address} does not answer`, { cause: error });
    }
    const opened: JobQueue = {
      ensure: async (ids) => {
        await queue.addBulk(ids.map((id) => ({ name: 'operation', data: {}, opts: { jobId: id } })));
      },
      close,
    };
    return opened;
  };
}

function listen(queue: Queue, worker: Worker, log: Logger): void {
  const quiet = (error: Error) => log.debug({ err: error.message }, 'the queue of operations reports a fault');
  queue.on('error', quiet);
  worker.on('error', quiet);
  worker.on('failed', (job, error) => {
    log.warn({ operation: job?.id, err: GantryError.from(error).message }, 'an operation failed, it will be tried again');
  });
}

/** The promise, given up after a time. */
async function soon<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new GantryError(Code.deadlineExceeded, `no answer in ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
