import { existsSync, readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { arch, availableParallelism, hostname, networkInterfaces, release, totalmem } from 'node:os';
import { Machine, Resources } from '@gantry/proto';

/** Declared when nothing is known better: what a plain disk and a plain link carry. */
const defaultIoBytesPerSecond = 200_000_000;
const defaultNetworkBytesPerSecond = 125_000_000;

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** Version of this agent, told to the control plane. */
export const agentVersion = '0.1.0';

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    // this kernel does not have it
    return '';
  }
}

/** "2", "hybrid" (v1 controllers with a v2 tree beside them) or "1". */
function cgroupVersion(): string {
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) return '2';
  return existsSync('/sys/fs/cgroup/unified/cgroup.procs') ? 'hybrid' : '1';
}

/**
 * The whole disks that hold a folder, "8:0": limits of block I/O apply to disks, not to partitions. A folder
 * that no single disk holds (overlay, btrfs) gives all disks of the machine.
 */
export function disksOf(folder: string): string[] {
  const { dev } = statSync(folder);
  const major = ((dev >>> 8) & 0xfff) | (Math.floor(dev / 2 ** 32) & ~0xfff);
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
  const device = `/sys/dev/block/${major}:${minor}`;
  if (existsSync(`${device}/partition`)) return [read(`${device}/../dev`)].filter((disk) => disk !== '');
  if (existsSync(device)) return [`${major}:${minor}`];
  return readdirSync('/sys/block', { encoding: 'utf8' })
    .filter((name) => !/^(loop|ram|zram|sr|fd|dm-)/.test(name) && read(`/sys/block/${name}/size`) !== '0')
    .map((name) => read(`/sys/block/${name}/dev`))
    .filter((disk) => disk !== '');
}

/** The first address of the host that is not its own loopback. */
function hostAddress(): string {
  for (const addresses of Object.values(networkInterfaces())) {
    for (const one of addresses ?? []) if (!one.internal && one.family === 'IPv4') return one.address;
  }
  return '127.0.0.1';
}

/** Bytes a second of the fastest link that says its speed. */
function linkBytesPerSecond(): number {
  const speeds = Object.keys(networkInterfaces()).map((name) => Number(read(`/sys/class/net/${name}/speed`)));
  const megabits = Math.max(0, ...speeds.filter((speed) => Number.isFinite(speed)));
  return megabits > 0 ? (megabits * 1e6) / 8 : defaultNetworkBytesPerSecond;
}

function osName(): string {
  return /^PRETTY_NAME="?([^"\n]*)"?/m.exec(read('/etc/os-release'))?.[1] ?? 'linux';
}

function features(): string[] {
  const probes: Record<string, boolean> = {
    psi: existsSync('/proc/pressure/cpu'),
    'user-namespaces': existsSync('/proc/self/ns/user'),
    'cgroup-kill': existsSync('/sys/fs/cgroup/unified') || existsSync('/sys/fs/cgroup/cgroup.controllers'),
  };
  return [`cgroup-${cgroupVersion()}`, ...Object.keys(probes).filter((name) => probes[name])];
}

export interface MachineOptions {
  name: string;
  /** Empty for the host's first. */
  address: string;
  dataDir: string;
  /** What the operator declared; the rest is measured. */
  capacity: Partial<Resources>;
  labels: Readonly<Record<string, string>>;
}

/** What the node says of itself. */
export function describeMachine({ name, address, dataDir, capacity, labels }: MachineOptions): Machine {
  const cpus = availableParallelism();
  const disk = statfsSync(dataDir);
  return Machine.create({
    name,
    address: address || hostAddress(),
    hostname: hostname(),
    os: osName(),
    arch: architectures[arch()] ?? arch(),
    kernel: release(),
    agentVersion,
    cgroupVersion: cgroupVersion(),
    cpus,
    pids: Number(read('/proc/sys/kernel/pid_max')) || 32_768,
    diskBytes: disk.blocks * disk.bsize,
    labels: { ...labels },
    features: features(),
    capacity: Resources.create({
      cpuMillis: cpus * 1000,
      memoryBytes: totalmem(),
      ioBytesPerSecond: defaultIoBytesPerSecond,
      networkBytesPerSecond: linkBytesPerSecond(),
      ...capacity,
    }),
  });
}
