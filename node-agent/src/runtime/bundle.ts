import { Code, GantryError } from '@gantry/common';
import type { Assignment, ContainerSpec, ServiceSpec } from '@gantry/proto';
import type { ImageConfig } from '../image/images.ts';
import type { PreparedMount } from '../volume/volumes.ts';
import { capabilitiesOf } from './capabilities.ts';
import { startResources } from './limits.ts';
import type { Linux, Mount, Process, Spec } from './oci.ts';
import type { ResolvedUser } from './passwd.ts';
import type { ContainerPaths } from './runtime.ts';

const defaultPath = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Docker's list of paths that tell or change things of the host, with those of later advisories. */
const maskedPaths = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const baseMounts: readonly Mount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'] },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'] },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'] },
];

/** Ports below 1024 and ping sockets need no capability inside the container's own network. */
const defaultSysctls = { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' };

/** First id outside of a container's user namespace: all of them share one range of 65536. */
const userNamespaceBase = 0x10_0000;

export interface BundleInput {
  assignment: Assignment;
  paths: ContainerPaths;
  image: ImageConfig;
  /** Absolute layer folders, top-most first. */
  layers: readonly string[];
  user: ResolvedUser;
  /** "/gantry/<id>". */
  cgroupsPath: string;
  /** Empty for a network of its own without any interface but the loopback. */
  netnsPath: string;
  mounts: readonly PreparedMount[];
  /** Host files for /etc/hosts, /etc/hostname and /etc/resolv.conf. */
  etc: readonly { target: string; source: string }[];
  /** Whole disks that I/O limits apply to, "8:0". */
  disks: readonly string[];
}

function refuse(message: string): GantryError {
  return new GantryError(Code.invalidArgument, message);
}

/** The spec parts that an assignment must have; the control plane never sends one without them. */
export function specOf(assignment: Assignment): { service: ServiceSpec; container: ContainerSpec } {
  const service = assignment.spec;
  const container = service?.container;
  if (!service || !container) throw refuse(`cannot start "${assignment.id}": its assignment must have a container's spec`);
  return { service, container };
}

/** Name that the container knows itself by. */
export function hostnameOf(assignment: Assignment): string {
  return assignment.spec?.container?.hostname || assignment.id;
}

/** The command line: Compose's entrypoint drops the image's CMD, its command replaces it. */
function argsOf(container: ContainerSpec, image: ImageConfig): string[] {
  const args =
    container.entrypoint.length > 0
      ? [...container.entrypoint, ...container.command]
      : [...image.entrypoint, ...(container.command.length > 0 ? container.command : image.cmd)];
  if (args.length === 0) throw refuse(`cannot start "${container.image}": its image names no command, so the service must`);
  return args;
}

function envOf(input: BundleInput, container: ContainerSpec): string[] {
  const values = new Map<string, string>();
  const add = (entry: string) => {
    const equals = entry.indexOf('=');
    if (equals > 0) values.set(entry.slice(0, equals), entry.slice(equals + 1));
  };
  add(defaultPath);
  add(`HOSTNAME=${hostnameOf(input.assignment)}`);
  add(`HOME=${input.user.home}`);
  if (container.tty) add('TERM=xterm');
  for (const entry of input.image.env) add(entry);
  for (const [name, value] of Object.entries(container.environment)) values.set(name, value);
  return [...values].map(([name, value]) => `${name}=${value}`);
}

function noNewPrivileges(container: ContainerSpec): boolean {
  return !container.securityOpt.some((option) => /^no-new-privileges[:=]false$/.test(option));
}

function hasSeccomp(container: ContainerSpec): boolean {
  for (const option of container.securityOpt) {
    if (/^seccomp[:=]unconfined$/.test(option)) return false;
    if (!/^no-new-privileges([:=](true|false))?$/.test(option)) {
      throw refuse(`cannot use security_opt "${option}": must be no-new-privileges or seccomp=unconfined`);
    }
  }
  return true;
}

function processOf(input: BundleInput, container: ContainerSpec): Process {
  const bounding = capabilitiesOf(container.capAdd, container.capDrop);
  // as execve would have it: a user other than root holds only what it was given by name
  const held = input.user.uid === 0 ? bounding : capabilitiesOf(container.capAdd, ['ALL']);
  const { home: _home, ...user } = input.user;
  return {
    terminal: container.tty,
    user,
    args: argsOf(container, input.image),
    env: envOf(input, container),
    cwd: container.workingDir || input.image.workingDir || '/',
    capabilities: { bounding, effective: held, permitted: held },
    ...(container.ulimits.length > 0
      ? { rlimits: container.ulimits.map(({ name, soft, hard }) => ({ type: `RLIMIT_${name.toUpperCase()}`, soft, hard })) }
      : {}),
    noNewPrivileges: noNewPrivileges(container),
  };
}

function linuxOf(input: BundleInput, service: ServiceSpec, container: ContainerSpec): Linux {
  const mapping = [{ containerID: 0, hostID: userNamespaceBase, size: 65_536 }];
  return {
    namespaces: [
      { type: 'pid' },
      { type: 'ipc' },
      { type: 'uts' },
      { type: 'mount' },
      { type: 'cgroup' },
      input.netnsPath ? { type: 'network', path: input.netnsPath } : { type: 'network' },
      ...(container.userNamespace ? [{ type: 'user' }] : []),
    ],
    ...(container.userNamespace ? { uidMappings: mapping, gidMappings: mapping } : {}),
    cgroupsPath: input.cgroupsPath,
    resources: startResources(service.limits, input.assignment.reservation ?? service.reservation, input.disks),
    sysctl: { ...defaultSysctls, ...container.sysctls },
    maskedPaths,
    readonlyPaths,
  };
}

function mountsOf(input: BundleInput): Mount[] {
  const etc = input.etc.map(({ target, source }) => ({
    destination: target,
    type: 'bind',
    source,
    options: ['bind', 'rprivate', 'ro', 'nosuid', 'nodev', 'noexec'],
  }));
  const prepared = input.mounts.map((mount) => ({ ...mount, options: [...mount.options] }));
  // the user's own mount of such a file wins
  const own = new Set(prepared.map(({ destination }) => destination));
  return [...baseMounts, ...etc.filter(({ destination }) => !own.has(destination)), ...prepared];
}

function annotationsOf(input: BundleInput, container: ContainerSpec): Record<string, string> {
  return {
    'dev.gantry.rootfs.lower': input.layers.join(':'),
    'dev.gantry.rootfs.upper': `${input.paths.data}/upper`,
    'dev.gantry.rootfs.work': `${input.paths.data}/work`,
    ...(container.init ? { 'dev.gantry.init': 'true' } : {}),
    ...(container.stdinOpen ? { 'dev.gantry.stdin': 'true' } : {}),
    ...(hasSeccomp(container) ? { 'dev.gantry.seccomp': 'default' } : {}),
  };
}

/**
 * The OCI configuration of a container. Pure: everything it depends on is in its input.
 * @throws GantryError invalidArgument for a spec that no node can run.
 */
export function buildSpec(input: BundleInput): Spec {
  const { service, container } = specOf(input.assignment);
  return {
    ociVersion: '1.2.0',
    process: processOf(input, container),
    root: { path: input.paths.rootfs, readonly: container.readOnly },
    hostname: hostnameOf(input.assignment),
    mounts: mountsOf(input),
    linux: linuxOf(input, service, container),
    annotations: annotationsOf(input, container),
  };
}
