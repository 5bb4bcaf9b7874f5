import { posix } from 'node:path';
import { type AppSpec, type ContainerSpec, type FileReference, type Mount, MountType } from '@gantry/proto';
import { limits, refuse, requireCount, requireMap, requireText, requireWhole, validateProbe } from './checks.ts';

const defaultStopGraceUs = 10_000_000;
/** A container's own signal names; numbers are accepted too. */
const signalName =
  /^(SIG)?(HUP|INT|QUIT|ILL|TRAP|ABRT|BUS|FPE|KILL|USR1|SEGV|USR2|PIPE|ALRM|TERM|STKFLT|CHLD|CONT|STOP|TSTP|TTIN|TTOU|URG|XCPU|XFSZ|VTALRM|PROF|WINCH|IO|PWR|SYS|RTMIN(\+\d+)?|RTMAX(-\d+)?|\d{1,2})$/;
const namespacedSysctl = /^(net\.[\w./-]+|kernel\.(msg\w+|sem|shm\w+|shm_rmid_forced)|fs\.mqueue\.\w+)$/;

/** Checks a container's spec and fills its defaults. */
export function validateContainer(path: string, container: ContainerSpec, app: AppSpec): ContainerSpec {
  if (container.image === '') refuse(`${path}.image`, 'the name of an image');
  if (!/^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/.test(container.image)) refuse(`${path}.image`, 'an image reference', container.image);
  requireText(`${path}.image`, container.image, 512);
  validateProcess(path, container);
  if (container.mounts.length > limits.mounts) refuse(`${path}.mounts`, `at most ${limits.mounts}`, container.mounts.length);
  const targets = new Set(container.mounts.map((mount) => posix.normalize(`${mount.target}/`)));
  if (targets.size < container.mounts.length) refuse(`${path}.mounts`, 'one for each target');
  for (const mount of container.mounts) validateMount(`${path}.mounts`, mount, app);
  validateReferences(`${path}.configs`, container.configs, app.configs);
  validateReferences(`${path}.secrets`, container.secrets, app.secrets);
  validateProbe(`${path}.health`, container.health);
  validateProbe(`${path}.readiness`, container.readiness);
  requireMap(`${path}.labels`, container.labels, limits.labels, limits.labelBytes);
  return { ...container, stopGraceUs: container.stopGraceUs || defaultStopGraceUs };
}

function validateProcess(path: string, container: ContainerSpec): void {
  for (const key of ['command', 'entrypoint'] as const) requireCount(`${path}.${key}`, container[key], limits.words);
  for (const key of ['capAdd', 'capDrop', 'securityOpt', 'ulimits'] as const) {
    requireCount(`${path}.${key}`, container[key], limits.listItems);
  }
  for (const name of [...container.capAdd, ...container.capDrop]) {
    if (!/^(CAP_)?[A-Z_]{2,40}$/.test(name)) refuse(`${path}.capAdd`, 'a capability such as NET_BIND_SERVICE', name);
  }
  requireMap(`${path}.environment`, container.environment, limits.environmentEntries, limits.environmentBytes);
  for (const word of [...container.command, ...container.entrypoint]) requireText(`${path}.command`, word, 128 * 1024);
  for (const key of ['user', 'hostname', 'workingDir'] as const) requireText(`${path}.${key}`, container[key], 255);
  if (container.workingDir !== '' && !container.workingDir.startsWith('/'))
    refuse(`${path}.workingDir`, 'an absolute path', container.workingDir);
  if (container.hostname !== '' && !/^[A-Za-z0-9]([A-Za-z0-9.-]{0,62})$/.test(container.hostname))
    refuse(`${path}.hostname`, 'a host name', container.hostname);
  if (container.stopSignal !== '' && !signalName.test(container.stopSignal)) refuse(`${path}.stopSignal`, 'a signal', container.stopSignal);
  requireWhole(`${path}.stopGraceUs`, container.stopGraceUs, 8.64e10);
  for (const name of Object.keys(container.sysctls)) {
    if (!namespacedSysctl.test(name)) refuse(`${path}.sysctls`, "a sysctl of the container's own namespaces", name);
  }
  for (const { name, soft, hard } of container.ulimits) {
    if (!/^[a-z]+$/.test(name)) refuse(`${path}.ulimits`, 'a known limit', name);
    if (soft > hard) refuse(`${path}.ulimits.${name}`, 'soft at most hard', soft);
  }
}

/** Absolute, without `..`, not the root itself. */
function requireTarget(path: string, target: string): void {
  requireText(path, target);
  if (!target.startsWith('/') || posix.normalize(target) === '/' || target.split('/').includes('..')) {
    refuse(path, 'an absolute path without ".." below /', target);
  }
}

function validateMount(path: string, mount: Mount, app: AppSpec): void {
  requireTarget(`${path}.target`, mount.target);
  switch (mount.type) {
    case MountType.volume:
      if (mount.source !== '' && !app.volumes.some((volume) => volume.name === mount.source))
        refuse(`${path}.source`, 'a volume of the app', mount.source);
      return;
    case MountType.bind:
      requireText(`${path}.source`, mount.source);
      if (!mount.source.startsWith('/') || mount.source.split('/').includes('..'))
        refuse(`${path}.source`, 'an absolute path without ".."', mount.source);
      return;
    case MountType.tmpfs:
      requireWhole(`${path}.tmpfsBytes`, mount.tmpfsBytes, Number.MAX_SAFE_INTEGER);
      return;
    default:
      refuse(`${path}.type`, 'volume, bind or tmpfs', mount.type);
  }
}

function validateReferences(path: string, references: readonly FileReference[], declared: readonly { name: string }[]): void {
  requireCount(path, references, limits.files);
  for (const reference of references) {
    for (const key of ['uid', 'gid'] as const) if (!/^\d{0,9}$/.test(reference[key])) refuse(`${path}.${key}`, 'a number', reference[key]);
    if (!declared.some((file) => file.name === reference.source)) refuse(path, 'declared by the app', reference.source);
    if (reference.target !== '')
      requireTarget(`${path}.target`, reference.target.startsWith('/') ? reference.target : `/${reference.target}`);
    if (reference.mode > 0o7777) refuse(`${path}.mode`, 'permission bits', reference.mode);
  }
}
