import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A real etcd for a test, on free ports and in a folder of its own. */
export interface TestEtcd {
  /** "127.0.0.1:41234" */
  readonly address: string;
  /** SIGKILL; the data stays. */
  kill(): Promise<void>;
  /** Starts it again on the same port and data. */
  start(): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('cannot find a free port: no address');
  return address.port;
}

async function launch(args: readonly string[]): Promise<ChildProcess> {
  // it must not outlive a test process that is killed
  const [command, ...rest] = ['setpriv', '--pdeathsig', 'SIGKILL', 'etcd', ...args] as const;
  const child = spawn(command, rest, { stdio: ['ignore', 'ignore', 'pipe'] });
  const lines: string[] = [];
  const ready = new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      lines.push(line);
      if (lines.length > 50) lines.shift();
      if (line.includes('serving client traffic')) resolve();
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`cannot start etcd: it ended with ${code}\n${lines.join('\n')}`)));
  });
  await ready;
  return child;
}

export interface TestEtcdOptions {
  /** Bytes of its database above which it refuses to write; default: etcd's own 2 GiB. */
  quotaBytes?: number;
}

/** Starts etcd (Debian's package etcd-server) as Gantry needs it: without compaction of its own. */
export async function startTestEtcd({ quotaBytes }: TestEtcdOptions = {}): Promise<TestEtcd> {
  const folder = await mkdtemp(join(tmpdir(), 'gantry-etcd-'));
  const [clientPort, peerPort] = [await freePort(), await freePort()];
  const clientUrl = `http://127.0.0.1:${clientPort}`;
  const peerUrl = `http://127.0.0.1:${peerPort}`;
  const args = [
    ['--name', 'test', '--data-dir', folder, '--logger', 'zap', '--log-level', 'info'],
    ['--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl],
    ['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl, '--initial-cluster', `test=${peerUrl}`],
    quotaBytes === undefined ? [] : ['--quota-backend-bytes', String(quotaBytes)],
  ].flat();
  let child: ChildProcess | undefined = await launch(args);
  const killNow = () => child?.kill('SIGKILL');
  process.once('exit', killNow);
  const kill = async () => {
    const running = child;
    child = undefined;
    if (!running || running.exitCode !== null) return;
    running.removeAllListeners('exit');
    const ended = once(running, 'exit');
    running.kill('SIGKILL');
    await ended;
  };
  return {
    address: `127.0.0.1:${clientPort}`,
    kill,
    start: async () => {
      child ??= await launch(args);
    },
    stop: async () => {
      await kill();
      process.off('exit', killNow);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
