// gantry doctor: what this machine gives, what is missing, and what follows from that.
import { existsSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { GantryError } from '@gantry/common';
import { installation, LocalCluster } from './cluster.ts';
import { run } from './process.ts';

export interface Finding {
  name: string;
  /** ok; missing: Gantry does not run; degraded: it runs with what `detail` says. */
  state: 'ok' | 'degraded' | 'missing';
  detail: string;
}

type Check = () => Promise<Finding> | Finding;

const ok = (name: string, detail: string): Finding => ({ name, state: 'ok', detail });
const missing = (name: string, detail: string): Finding => ({ name, state: 'missing', detail });
const degraded = (name: string, detail: string): Finding => ({ name, state: 'degraded', detail });

/** Runs a harmless command that needs the feature. */
async function tried(name: string, command: readonly string[], otherwise: (why: string) => Finding): Promise<Finding> {
  try {
    await run(command[0]!, command.slice(1), { timeoutMs: 5000 });
    return ok(name, 'works');
  } catch (error) {
    return otherwise(GantryError.from(error).message.split('\n').at(-1) ?? '');
  }
}

const inNamespace = (script: string): string[] => ['unshare', '--net', '--mount', 'sh', '-c', script];

function cgroups(): Finding {
  const root = '/sys/fs/cgroup';
  if (existsSync(join(root, 'cgroup.controllers'))) {
    const controllers = readFileSync(join(root, 'cgroup.controllers'), 'utf8').trim().split(' ');
    const wanted = ['cpu', 'memory', 'io', 'pids'].filter((name) => !controllers.includes(name));
    return wanted.length === 0
      ? ok('cgroups', 'version 2 with all controllers')
      : missing('cgroups', `version 2 lacks ${wanted.join(', ')}`);
  }
  const wanted = ['cpu', 'cpuacct', 'memory', 'blkio', 'pids', 'freezer'].filter((name) => !existsSync(join(root, name, 'cgroup.procs')));
  if (wanted.length > 0) return missing('cgroups', `version 1 lacks ${wanted.join(', ')}; mount them below ${root}`);
  return degraded('cgroups', 'version 1: buffered writes are not charged to containers, I/O limits hold for reads and direct I/O');
}

function pressure(): Finding {
  return existsSync('/proc/pressure/cpu')
    ? ok('pressure', 'PSI is there')
    : degraded('pressure', 'no PSI: pressure reads as 0; boot with psi=1');
}

function overlay(): Promise<Finding> {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-doctor-'));
  const script = `cd ${folder} && mount -t tmpfs none . && cd ${folder} && mkdir l u w m && mount -t overlay -o lowerdir=l,upperdir=u,workdir=w none m`;
  return tried('overlay', ['unshare', '--mount', 'sh', '-c', script], (why) => missing('overlay', why)).finally(() => rmdirSync(folder));
}

function tools(): Finding {
  const names = ['etcd', 'redis-server', 'docker-registry', 'skopeo', 'umoci', 'nft', 'ip', 'nsenter', 'busybox'];
  const folders = (process.env.PATH ?? '').split(':');
  const absent = names.filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
  return absent.length === 0 ? ok('tools', names.join(' ')) : missing('tools', `not found: ${absent.join(' ')}; run: npm run setup`);
}

function builds(): Finding {
  const files = [
    'native/build/berth',
    'native/build/gantry-netd',
    'native/build/gantry-unpack',
    'node-agent/build/gantry-agent.mjs',
    'control-plane/build/gantry-control-plane.mjs',
  ];
  const absent = files.filter((file) => !existsSync(join(installation, file)));
  return absent.length === 0 ? ok('programs', 'built') : missing('programs', `not built: ${absent.join(' ')}; run: npm run setup`);
}

function local(): Finding {
  const cluster = LocalCluster.open(join(installation, '.gantry'));
  if (!cluster) return ok('local cluster', 'none; npm run up makes one');
  return cluster.complete()
    ? ok('local cluster', `up, ${cluster.record.nodes} hosts`)
    : degraded('local cluster', 'not whole; npm run up makes it anew');
}

const checks: readonly Check[] = [
  () => (process.getuid?.() === 0 ? ok('root', 'yes') : missing('root', 'agents and the local cluster need root')),
  () => ok('kernel', release()),
  tools,
  builds,
  cgroups,
  pressure,
  overlay,
  () =>
    tried('user namespaces', ['unshare', '--user', '--map-root-user', 'true'], (why) =>
      degraded('user namespaces', `containers that ask for one are refused: ${why}`),
    ),
  () =>
    tried(
      'bridge and veth',
      inNamespace('ip link add name probe0 type bridge && ip link add name probe1 type veth peer name probe2'),
      (why) => missing('bridge and veth', why),
    ),
  () =>
    tried('nftables nat', inNamespace('nft add table ip t && nft "add chain ip t c { type nat hook prerouting priority 0; }"'), (why) =>
      missing('nftables nat', `ports cannot be published: ${why}`),
    ),
  local,
];

/** Everything that was looked at, in order. */
export async function examine(): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const check of checks) findings.push(await check());
  return findings;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const findings = await examine();
  for (const { name, state, detail } of findings) console.log(`${state.padEnd(9)} ${name.padEnd(16)} ${detail}`);
  process.exitCode = findings.some((finding) => finding.state === 'missing') ? 1 : 0;
}
