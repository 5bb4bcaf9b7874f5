import { existsSync, globSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { type OwnProcess, run, signalProcess, startTimeOf, stopProcess, waitUntil } from './process.ts';

/** What one host of the local cluster may leave in the kernel. */
export interface Remains {
  /** The node's folder: its monitors' records and its mounts lie below. */
  folder: string;
  /** Its cgroup in every hierarchy. */
  cgroup: string;
}

/** Ends every container and monitor of the hosts, then removes their mounts and cgroups. */
export async function removeRemains(hosts: readonly Remains[]): Promise<void> {
  const monitors = hosts.flatMap((host) => monitorsBelow(host.folder));
  const cgroups = hosts.flatMap((host) => cgroupFolders(host.cgroup));
  // monitors end by themselves once their container has; a container may start others while it is being killed
  await waitUntil(() => cgroups.map(killIn).reduce((sum, killed) => sum + killed, 0) === 0, 10_000);
  await waitUntil(() => monitors.every((monitor) => startTimeOf(monitor.pid) !== monitor.startTime), 5000);
  for (const monitor of monitors) await stopProcess(monitor, 'SIGKILL');
  for (const host of hosts) await unmountBelow(host.folder);
  for (const folder of cgroups) removeCgroup(folder);
}

function monitorsBelow(folder: string): OwnProcess[] {
  return globSync(join(folder, '**/monitor.pid')).flatMap((path) => {
    const [pid, startTime] = attempt(() => readFileSync(path, 'utf8'), '')
      .trim()
      .split(/\s+/);
    return pid && startTime ? [{ name: path, pid: Number(pid), startTime }] : [];
  });
}

/** The group's folder in the v2 tree and in every v1 hierarchy. */
function cgroupFolders(group: string): string[] {
  const root = '/sys/fs/cgroup';
  const hierarchies = existsSync(join(root, 'cgroup.controllers')) ? [root] : readdirSync(root).map((name) => join(root, name));
  return hierarchies.map((hierarchy) => join(hierarchy, group)).filter((folder) => existsSync(folder));
}

/** The group and all below it, innermost first; a group may vanish while it is looked at. */
function subgroups(folder: string): string[] {
  const children = attempt(() => readdirSync(folder, { withFileTypes: true }), []).filter((entry) => entry.isDirectory());
  return [...children.flatMap((entry) => subgroups(join(folder, entry.name))), folder];
}

/** The value, or another one when what is looked at has gone meanwhile. */
function attempt<T>(look: () => T, gone: T): T {
  try {
    return look();
  } catch (error) {
    if (['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return gone;
    throw error;
  }
}

function killIn(folder: string): number {
  let killed = 0;
  for (const group of existsSync(folder) ? subgroups(folder) : []) {
    for (const line of readLines(join(group, 'cgroup.procs'))) {
      const pid = Number(line);
      const startTime = startTimeOf(pid);
      if (startTime !== undefined && signalProcess({ name: group, pid, startTime }, 'SIGKILL')) killed++;
    }
  }
  return killed;
}

function readLines(path: string): string[] {
  return attempt(() => readFileSync(path, 'utf8'), '')
    .split('\n')
    .filter(Boolean);
}

async function unmountBelow(folder: string): Promise<void> {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point.startsWith(`${folder}/`));
  for (const point of points.reverse()) await run('umount', ['-l', point]);
}

function removeCgroup(folder: string): void {
  for (const group of existsSync(folder) ? subgroups(folder) : []) {
    attempt(() => rmdirSync(group), undefined); // a monitor may have removed it first
  }
}
