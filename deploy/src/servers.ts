import { mkdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { SpawnOptions } from './process.ts';
import { waitUntil } from './process.ts';

/** A port of an address that was free a moment ago. */
export function freePort(host = '127.0.0.1'): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** Whether something accepts connections there. */
function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 500 });
    const done = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.on('connect', () => done(true));
    socket.on('error', () => done(false));
    socket.on('timeout', () => done(false));
  });
}

export async function waitForPort(name: string, host: string, port: number, log: string): Promise<void> {
  if (!(await waitUntil(() => accepts(host, port), 20_000)))
    throw new Error(`${name} does not listen on ${host}:${port} after 20 s; see ${log}`);
}

/** etcd with one member and its data below `folder`; compaction is the leader's (see docs/decisions). */
export function etcdCommand(folder: string, port: number, peerPort: number): SpawnOptions {
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  return {
    name: 'etcd',
    command: 'etcd',
    log: join(folder, 'log/etcd.log'),
    env: { ETCD_UNSUPPORTED_ARCH: 'arm64' },
    args: [
      ...['--name', 'local', '--data-dir', join(folder, 'etcd'), '--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `local=${peer}`],
      ...['--auto-compaction-retention', '0', '--logger', 'zap', '--log-level', 'warn'],
    ],
  };
}

export function redisCommand(folder: string, port: number): SpawnOptions {
  const data = join(folder, 'redis');
  mkdirSync(data, { recursive: true, mode: 0o700 });
  return {
    name: 'redis',
    command: 'redis-server',
    log: join(folder, 'log/redis.log'),
    args: [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', data, '--maxmemory', '256mb', '--maxmemory-policy', 'noeviction'],
      ...['--appendonly', 'yes', '--save', '', '--daemonize', 'no'],
    ],
  };
}

/** Debian's docker-registry in plain http on the cluster's own network. */
export function registryCommand(folder: string, host: string, port: number): SpawnOptions {
  const config = join(folder, 'registry.yml');
  const storage = join(folder, 'registry');
  mkdirSync(storage, { recursive: true, mode: 0o700 });
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: ${storage}}, delete: {enabled: true}}\nhttp: {addr: '${host}:${port}'}\n`,
  );
  return { name: 'registry', command: 'docker-registry', args: ['serve', config], log: join(folder, 'log/registry.log') };
}
