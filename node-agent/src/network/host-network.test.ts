import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { Code } from '@gantry/common';
import { Endpoint, EndpointMap, Port, ServiceEndpoints, ServiceKey } from '@gantry/proto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PreparedNetwork } from './network.ts';

const netd = new URL('../../../native/build/gantry-netd', import.meta.url).pathname;
const driver = new URL('host-network.driver.ts', import.meta.url).pathname;
const runnable = process.getuid?.() === 0 && existsSync(netd) && existsSync('/usr/sbin/nft') && existsSync('/bin/busybox');

interface Result {
  ok: boolean;
  value?: unknown;
  code?: number;
  message?: string;
}

/** A node: the driver in a network namespace of its own, which ends with it. */
class TestNode {
  readonly number: number;
  readonly process: ChildProcess;
  readonly #lines: Interface;
  readonly #results: AsyncIterator<string>;

  constructor(number: number, resolvConf: string) {
    this.number = number;
    const args = ['--net', '--', process.execPath, driver, netd, 'gbr', resolvConf];
    this.process = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.process.stdout! });
    this.#results = this.#lines[Symbol.asyncIterator]();
  }

  get netns(): string {
    return `/proc/${this.process.pid}/ns/net`;
  }

  async attempt(method: string, ...args: unknown[]): Promise<Result> {
    this.process.stdin?.write(`${JSON.stringify({ method, args })}\n`);
    const { value, done } = await this.#results.next();
    if (done) throw new Error(`node ${this.number} has ended`);
    return JSON.parse(value) as Result;
  }

  async call<T>(method: string, ...args: unknown[]): Promise<T> {
    const result = await this.attempt(method, ...args);
    if (!result.ok) throw new Error(result.message);
    return result.value as T;
  }

  start(): Promise<void> {
    return this.call('start', { subnet: `10.64.${this.number}.0/24`, clusterCidr: '10.64.0.0/12', clusterDomain: 'gantry.internal' });
  }

  prepare(last: number, app = 'shop'): Promise<PreparedNetwork> {
    const containerId = `${this.number}${last}`.padStart(12, 'c');
    return this.call('prepare', { containerId, address: `10.64.${this.number}.${last}`, namespace: 'default', app });
  }

  close(): void {
    this.#lines.close();
    this.process.kill('SIGKILL');
  }
}

/** A long-running program inside a network namespace. */
function serve(netns: string, ...command: string[]): ChildProcess {
  return spawn('nsenter', [`--net=${netns}`, ...command], { stdio: 'ignore' });
}

function run(netns: string, ...command: string[]): string {
  return execFileSync('nsenter', [`--net=${netns}`, ...command], { encoding: 'utf8', timeout: 8000, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** What a server says that greets and closes; undefined when the connection is refused or stays silent. */
function greet(netns: string, address: string, port: number): string | undefined {
  try {
    return run(netns, '/bin/busybox', 'nc', '-w', '2', address, String(port)).trim();
  } catch {
    return undefined;
  }
}

describe.runIf(runnable)('the network of hosts in the kernel', () => {
  const children: ChildProcess[] = [];
  let folder = '';
  let nodes: TestNode[] = [];

  /** Two started nodes on one wire, 192.168.77.1 and .2, each with a route to the other. */
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'network-test-'));
    writeFileSync(join(folder, 'resolv.conf'), 'nameserver 192.168.77.1\n');
    nodes = [1, 2].map((number) => new TestNode(number, join(folder, 'resolv.conf')));
    const [a, b] = nodes as [TestNode, TestNode];
    await Promise.all(nodes.map((node) => node.start()));
    run(a.netns, 'ip', 'link', 'add', 'wire', 'type', 'veth', 'peer', 'name', 'wire', 'netns', String(b.process.pid));
    for (const node of nodes) {
      run(node.netns, 'ip', 'link', 'set', 'lo', 'up');
      run(node.netns, 'ip', 'addr', 'add', `192.168.77.${node.number}/24`, 'dev', 'wire');
      run(node.netns, 'ip', 'link', 'set', 'wire', 'up');
    }
    const peers = nodes.map(({ number }) => ({ node: `n${number}`, address: `192.168.77.${number}`, subnet: `10.64.${number}.0/24` }));
    await Promise.all(nodes.map((node) => node.call('setPeers', peers)));
  });

  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    for (const node of nodes) node.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A container whose server on port 80 tells its own name and the address of its client. */
  async function greeter(node: TestNode, last: number): Promise<PreparedNetwork> {
    const prepared = await node.prepare(last);
    const code = [
      'import socket',
      's=socket.create_server(("",80),backlog=64)',
      'while True:',
      ` c,a=s.accept(); c.sendall(("${node.number}.${last} "+a[0]).encode()); c.close()`,
    ].join('\n');
    children.push(serve(prepared.netnsPath, '/usr/bin/python3', '-c', code));
    await expect.poll(() => greet(prepared.netnsPath, `10.64.${node.number}.${last}`, 80), { timeout: 5000 }).toBeTruthy();
    return prepared;
  }

  function endpoints(version: number, addresses: readonly string[], published = 8080): EndpointMap {
    const service = ServiceEndpoints.create({
      key: ServiceKey.create({ namespace: 'default', app: 'shop', service: 'web' }),
      endpoints: addresses.map((address, index) => Endpoint.create({ containerId: `c${index}`, address, slot: index + 1 })),
      ports: [Port.create({ target: 80, published })],
    });
    return EndpointMap.create({ version, snapshot: true, services: [service] });
  }

  function publish(map: EndpointMap): Promise<unknown> {
    return Promise.all(nodes.map((node) => node.call('setEndpoints', map)));
  }

  test('containers of two hosts reach each other with their own addresses', async () => {
    const [a, b] = nodes as [TestNode, TestNode];
    await greeter(b, 5);
    const client = await a.prepare(7);
    expect(greet(client.netnsPath, '10.64.2.5', 80)).toBe('2.5 10.64.1.7');
    expect(greet(a.netns, '10.64.2.5', 80)).toBe('2.5 192.168.77.1');
  });

  test('a published port answers on every node, from outside, inside and loopback, by all ready containers', async () => {
    const [a, b] = nodes as [TestNode, TestNode];
    const own = await greeter(a, 5);
    await greeter(b, 5);
    await publish(endpoints(1, ['10.64.1.5', '10.64.2.5']));
    const ways: [string, string][] = [
      [a.netns, '192.168.77.1'],
      [a.netns, '127.0.0.1'],
      [a.netns, '192.168.77.2'],
      [b.netns, '192.168.77.1'],
      [b.netns, '127.0.0.1'],
      [own.netnsPath, '192.168.77.1'],
      [own.netnsPath, '192.168.77.2'],
    ];
    for (const [from, to] of ways) {
      const answers = Array.from({ length: 14 }, () => greet(from, to, 8080));
      const names = new Set(answers.map((answer) => answer?.split(' ')[0]));
      expect(names, `${from} -> ${to}`).toEqual(new Set(['1.5', '2.5']));
    }
  });

  test('a client from outside keeps its address where the container runs on the node it came to', async () => {
    const [a, b] = nodes as [TestNode, TestNode];
    await greeter(a, 5);
    await publish(endpoints(1, ['10.64.1.5']));
    expect(greet(b.netns, '192.168.77.1', 8080)).toBe('1.5 192.168.77.2');
  });

  test('a port whose containers are gone is refused, and the next map brings it back', async () => {
    const [a, b] = nodes as [TestNode, TestNode];
    await greeter(a, 5);
    await publish(endpoints(1, ['10.64.1.5']));
    expect(greet(b.netns, '192.168.77.2', 8080)).toBe('1.5 192.168.77.2');
    await publish(endpoints(2, []));
    expect(greet(b.netns, '192.168.77.2', 8080)).toBeUndefined();
    await publish(endpoints(3, ['10.64.1.5'], 8081));
    expect(greet(b.netns, '192.168.77.2', 8080)).toBeUndefined();
    expect(greet(b.netns, '192.168.77.2', 8081)).toBe('1.5 192.168.77.2');
  });

  test('a connection lives on when its container leaves the map', async () => {
    const [a, b] = nodes as [TestNode, TestNode];
    const server = await a.prepare(5);
    const code = 'import socket; s=socket.create_server(("",80))\nwhile True:\n c,_=s.accept()\n while d:=c.recv(99): c.send(d)';
    children.push(serve(server.netnsPath, '/usr/bin/python3', '-c', code));
    await expect.poll(() => run(server.netnsPath, 'ss', '-ltn'), { timeout: 5000 }).toContain(':80 ');
    await publish(endpoints(1, ['10.64.1.5']));
    const client = spawn('nsenter', [`--net=${b.netns}`, '/bin/busybox', 'nc', '192.168.77.2', '8080'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    children.push(client);
    const echoes = createInterface({ input: client.stdout })[Symbol.asyncIterator]();
    client.stdin.write('before\n');
    expect((await echoes.next()).value).toBe('before');
    await publish(endpoints(2, []));
    client.stdin.write('after\n');
    expect((await echoes.next()).value).toBe('after');
  });

  test('containers reach neither the node’s loopback services nor, when released, anyone', async () => {
    const [a] = nodes as [TestNode];
    const container = await a.prepare(5);
    const code = 'import socket; s=socket.create_server(("127.0.0.1",7777))\nwhile True: s.accept()[0].send(b"secret")';
    children.push(serve(a.netns, '/usr/bin/python3', '-c', code));
    await expect.poll(() => greet(a.netns, '127.0.0.1', 7777)).toBe('secret');
    run(container.netnsPath, 'ip', 'addr', 'flush', 'dev', 'lo');
    run(container.netnsPath, 'ip', 'route', 'add', '127.0.0.0/8', 'via', '10.64.1.1', 'dev', 'eth0');
    run(container.netnsPath, 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1');
    expect(greet(container.netnsPath, '127.0.0.1', 7777)).toBeUndefined();
    await a.call('release', 'cccccccccc15');
    expect(await a.call('stats')).toEqual({});
  });

  test('names of services resolve inside containers and others are asked of the host’s resolver', async () => {
    const [a] = nodes as [TestNode];
    const container = await a.prepare(5);
    await publish(endpoints(1, ['10.64.1.5', '10.64.2.9']));
    const upstream = join(folder, 'upstream.py');
    writeFileSync(
      upstream,
      [
        'import socket,sys',
        's=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(("192.168.77.1",53))',
        'while True:',
        ' q,a=s.recvfrom(600); s.sendto(q[:2]+b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0"+q[12:]+b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\5\\0\\4\\1\\2\\3\\4",a)',
      ].join('\n'),
    );
    children.push(serve(a.netns, '/usr/bin/python3', upstream));
    const ask = (name: string) => {
      try {
        const text = run(container.netnsPath, '/bin/busybox', 'nslookup', '-type=a', name, '10.64.1.1');
        return new Set([...text.matchAll(/^Address(?: \d+)?: (\d+\.\d+\.\d+\.\d+)$/gm)].map((match) => match[1]));
      } catch (error) {
        return String((error as { stdout?: unknown }).stdout).includes('NXDOMAIN') ? 'NXDOMAIN' : 'failed';
      }
    };
    expect(ask('web')).toEqual(new Set(['10.64.1.5', '10.64.2.9']));
    expect(ask('2.web.shop.gantry.internal')).toEqual(new Set(['10.64.2.9']));
    expect(ask('none.shop.gantry.internal')).toBe('NXDOMAIN');
    await expect.poll(() => ask('example.com'), { timeout: 8000 }).toEqual(new Set(['1.2.3.4']));
  });

  test('figures are by container, and a helper that dies is started again', async () => {
    const [a] = nodes as [TestNode];
    const first = await a.prepare(5);
    children.push(serve(first.netnsPath, 'sleep', '1000'));
    const before = await a.call<Record<string, { sendPackets: number }>>('stats');
    expect(Object.keys(before)).toEqual(['cccccccccc15']);
    const pids = execFileSync('pgrep', ['-P', String(a.process.pid), '-x', 'gantry-netd'], { encoding: 'utf8' })
      .trim()
      .split('\n');
    expect(pids).toHaveLength(1);
    process.kill(Number(pids[0]), 'SIGKILL');
    await expect.poll(async () => (await a.attempt('stats')).ok).toBe(true);
    await a.prepare(6);
    expect(Object.keys(await a.call<object>('stats')).toSorted()).toEqual(['cccccccccc15', 'cccccccccc16']);
  });

  test('start is idempotent, another subnet is refused, and before it nothing works', async () => {
    const [a] = nodes as [TestNode];
    await a.start();
    const other = { subnet: '10.65.0.0/24', clusterCidr: '10.64.0.0/12', clusterDomain: 'gantry.internal' };
    expect(await a.attempt('start', other)).toMatchObject({ ok: false, code: Code.failedPrecondition });
    const fresh = new TestNode(3, join(folder, 'resolv.conf'));
    nodes.push(fresh);
    expect(await fresh.attempt('setPeers', [])).toMatchObject({ ok: false, code: Code.failedPrecondition });
    await fresh.call('setEndpoints', endpoints(1, ['10.64.1.5']));
    await fresh.start();
    expect(run(fresh.netns, 'nft', 'list', 'table', 'ip', 'gantry-test')).toContain('dnat to 10.64.1.5:80');
  });

  test('a limited container sends no faster than its limit', async () => {
    const [a] = nodes as [TestNode];
    const container = { containerId: 'limited00000', address: '10.64.1.9', namespace: 'default', app: 'shop' };
    const prepared = await a.call<PreparedNetwork>('prepare', { ...container, limit: { sendBytesPerSecond: 4_000_000 } });
    const code = 'import socket; s=socket.create_server(("10.64.1.1",9000)); c,a=s.accept()\nwhile c.recv(65536): pass';
    children.push(serve(a.netns, '/usr/bin/python3', '-c', code));
    const send = `import socket,time
for _ in range(200):
  try: s=socket.create_connection(("10.64.1.1",9000),5); break
  except OSError: time.sleep(0.02)
t=time.monotonic(); s.sendall(b"x"*2000000); s.shutdown(1); s.recv(1); print(time.monotonic()-t)`;
    const seconds = Number(run(prepared.netnsPath, '/usr/bin/python3', '-c', send));
    expect(seconds).toBeGreaterThan(0.35);
    expect(seconds).toBeLessThan(1.5);
  });

  test('sixty containers come and go within milliseconds each', async () => {
    const [a] = nodes as [TestNode];
    const began = performance.now();
    for (let last = 10; last < 70; last++) await a.prepare(last);
    const middle = performance.now();
    for (let last = 10; last < 70; last++) await a.call('release', `1${last}`.padStart(12, 'c'));
    const ended = performance.now();
    console.log(`  prepare ${((middle - began) / 60).toFixed(2)} ms, release ${((ended - middle) / 60).toFixed(2)} ms`);
    expect(ended - began).toBeLessThan(5000);
  });
});
