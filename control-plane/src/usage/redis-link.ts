import type { Logger } from '@gantry/common';
import type { Redis } from 'ioredis';

export interface RedisLinkOptions {
  /** "127.0.0.1:6379" */
  address: string;
  log: Logger;
  /** Shown by CLIENT LIST. */
  name: string;
  /** For a connection that only waits for news: its commands have no time-out. */
  blocking?: boolean;
}

/** A connection that comes back by itself and says once when it goes and when it returns. */
export interface RedisLink {
  readonly redis: Redis;
  /** Whether commands can be sent now; when not they fail at once. */
  readonly isReady: boolean;
  close(): void;
}

/** Dials in the background. The library is loaded now: a control plane without Redis does not pay for it. */
export async function connectRedis({ address, log, name, blocking = false }: RedisLinkOptions): Promise<RedisLink> {
  const { Redis } = await import('ioredis');
  const colon = address.lastIndexOf(':');
  const options = {
    host: address.slice(0, colon).replaceAll(/[[\]]/g, ''),
    port: Number(address.slice(colon + 1)),
    connectionName: name,
    retryStrategy: (times: number) => Math.min(2000, 100 * 2 ** Math.min(times, 5)),
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: 3000,
    commandTimeout: blocking ? undefined : 3000,
  };
  const redis = new Redis(options);
  let isAway = false;
  redis.on('ready', () => {
    if (isAway) log.info({ connection: name }, 'Redis is back');
    isAway = false;
  });
  redis.on('error', (error: Error) => {
    if (!isAway) log.warn({ connection: name, err: error.message }, 'Redis is away: operations and history wait, nothing else');
    isAway = true;
  });
  return {
    redis,
    get isReady() {
      return redis.status === 'ready';
    },
    close: () => redis.disconnect(),
  };
}
