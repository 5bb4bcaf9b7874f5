import { GantryError, isName } from '@gantry/common';
import {
  type AppSpec,
  type Autoscale,
  DependencyCondition,
  type FileSpec,
  type Placement,
  PlacementStrategy,
  Resources,
  type RestartPolicy,
  ServiceSpec,
  ServiceSpecMode,
  type UpdatePolicy,
  type VolumeSpec,
} from '@gantry/proto';
import { isAttribute, parseConstraint } from '../cluster/constraint.ts';
import { limits, refuse, requireCount, requireMap, requirePlain, requireText, requireWhole } from './checks.ts';
import { validateContainer } from './validate-container.ts';

/** What a service that reserves nothing is given: placement needs a figure, and says so. */
const defaultReservation = { cpuMillis: 100, memoryBytes: 64 * 1024 * 1024 } as const;

function requireName(path: string, name: string): void {
  if (!isName(name)) refuse(path, 'lower-case letters, digits and inner hyphens, at most 63', name);
}

/**
 * Checks an app and fills its defaults; the given spec is not changed.
 * @throws GantryError invalidArgument that names the first field that cannot be accepted.
 */
export function validateApp(spec: AppSpec): AppSpec {
  requirePlain('', spec);
  const namespace = spec.namespace || 'default';
  requireName('namespace', namespace);
  requireName('name', spec.name);
  if (spec.services.length === 0) refuse('services', 'at least one service');
  if (spec.services.length > limits.services) refuse('services', `at most ${limits.services}`, spec.services.length);
  requireCount('volumes', spec.volumes, limits.volumes);
  unique('services', spec.services);
  unique('volumes', spec.volumes);
  for (const volume of spec.volumes) validateVolume(volume);
  validateFiles('configs', spec.configs);
  validateFiles('secrets', spec.secrets);
  const services = spec.services.map((service) => validateService(service, spec));
  requireAcyclic(services);
  requireDistinctPorts(services);
  requireDistinctNames(services);
  return { ...spec, namespace, services };
}

function unique(path: string, items: readonly { name: string }[]): void {
  const seen = new Set<string>();
  for (const { name } of items) {
    requireName(`${path}.${name}`, name);
    if (seen.has(name)) refuse(`${path}.${name}`, 'named once', name);
    seen.add(name);
  }
}

function validateVolume(volume: VolumeSpec): void {
  requireMap(`volumes.${volume.name}.labels`, volume.labels, limits.labels, limits.labelBytes);
}

function validateFiles(kind: string, files: readonly FileSpec[]): void {
  requireCount(kind, files, limits.files);
  unique(kind, files);
  for (const file of files) {
    if (file.content.length > limits.fileBytes) refuse(`${kind}.${file.name}`, `at most ${limits.fileBytes} bytes`, file.content.length);
  }
}

function validateService(service: ServiceSpec, app: AppSpec): ServiceSpec {
  const path = `services.${service.name}`;
  const bytes = ServiceSpec.encode(service).length;
  if (bytes > limits.serviceBytes) refuse(path, `at most ${limits.serviceBytes} bytes`, bytes);
  requireWhole(`${path}.mode`, service.mode, 3);
  requireWhole(`${path}.disconnect`, service.disconnect, 1);
  requireWhole(`${path}.drainUs`, service.drainUs, 3.6e9);
  requireWhole(`${path}.replicas`, service.replicas, limits.replicas);
  if (!service.container) refuse(`${path}.container`, 'set');
  const container = validateContainer(`${path}.container`, service.container, app);
  const reservation = validateResources(path, service);
  requireMap(`${path}.labels`, service.labels, limits.labels, limits.labelBytes);
  requireWhole(`${path}.priority`, service.priority, 1000, -1000);
  requireCount(`${path}.aliases`, service.aliases, limits.listItems);
  for (const alias of service.aliases) requireName(`${path}.aliases`, alias);
  validatePorts(path, service);
  validatePlacement(path, service, app);
  for (const [name, policy] of [
    ['update', service.update],
    ['rollback', service.rollback],
  ] as const)
    validateUpdate(`${path}.${name}`, policy);
  validateAutoscale(`${path}.autoscale`, service.autoscale, service.mode);
  validateRestart(`${path}.restart`, service.restart);
  validateDependencies(`${path}.dependsOn`, service, app);
  return { ...service, container, reservation };
}

function validateRestart(path: string, restart: RestartPolicy | null): void {
  if (!restart) return;
  requireWhole(`${path}.condition`, restart.condition, 2);
  for (const key of ['delayUs', 'maxDelayUs', 'windowUs'] as const) requireWhole(`${path}.${key}`, restart[key], 8.64e10 * 7);
}

function validateDependencies(path: string, { dependsOn }: ServiceSpec, app: AppSpec): void {
  const seen = new Set<string>();
  for (const { service, condition } of dependsOn) {
    const target = app.services.find((other) => other.name === service);
    if (!target) refuse(path, 'a service of the app', service);
    if (seen.has(service)) refuse(path, 'named once', service);
    seen.add(service);
    requireWhole(`${path}.condition`, condition, 2);
    const isJob = target.mode === ServiceSpecMode.replicated_job || target.mode === ServiceSpecMode.global_job;
    if (condition === DependencyCondition.service_completed_successfully && !isJob)
      refuse(path, 'a job, since only jobs complete', service);
  }
}

function validateResources(path: string, service: ServiceSpec): Resources {
  const given = service.reservation ?? Resources.create();
  const reservation = {
    ...given,
    cpuMillis: given.cpuMillis || defaultReservation.cpuMillis,
    memoryBytes: given.memoryBytes || defaultReservation.memoryBytes,
  };
  for (const [key, value] of Object.entries(reservation)) requireWhole(`${path}.reservation.${key}`, value, Number.MAX_SAFE_INTEGER);
  const limit = service.limits;
  if (!limit) return reservation;
  for (const [key, value] of Object.entries(limit)) requireWhole(`${path}.limits.${key}`, value, Number.MAX_SAFE_INTEGER);
  for (const key of ['cpuMillis', 'memoryBytes'] as const) {
    if (limit[key] === 0 || limit[key] >= reservation[key]) continue;
    if (given[key] > 0) refuse(`${path}.limits.${key}`, `at least the reservation ${reservation[key]}`, limit[key]);
    reservation[key] = limit[key]; // nothing was asked for: a default never exceeds the limit
  }
  return reservation;
}

function validatePorts(path: string, service: ServiceSpec): void {
  if (service.ports.length > limits.ports) refuse(`${path}.ports`, `at most ${limits.ports}`, service.ports.length);
  for (const port of service.ports) {
    requireWhole(`${path}.ports.target`, port.target, 65_535, 1);
    requireWhole(`${path}.ports.published`, port.published, 65_535);
    requireWhole(`${path}.ports.protocol`, port.protocol, 1);
  }
}

function requireDistinctPorts(services: readonly ServiceSpec[]): void {
  const holders = new Map<string, string>();
  for (const service of services) {
    for (const port of service.ports) {
      if (port.published === 0) continue;
      const key = `${port.published}/${port.protocol === 0 ? 'tcp' : 'udp'}`;
      const holder = holders.get(key);
      if (holder !== undefined)
        refuse(`services.${service.name}.ports`, `free: ${key} is already published by "${holder}"`, port.published);
      holders.set(key, service.name);
    }
  }
}

/** Services and aliases share the app's DNS names. */
function requireDistinctNames(services: readonly ServiceSpec[]): void {
  const names = new Set(services.map((service) => service.name));
  for (const { name, aliases } of services) {
    for (const alias of aliases) {
      if (alias !== name && names.has(alias)) refuse(`services.${name}.aliases`, 'free: a service of the app has this name', alias);
    }
  }
}

function validatePlacement(path: string, service: ServiceSpec, app: AppSpec): void {
  const { placement } = service;
  if (!placement) return;
  requireWhole(`${path}.placement.maxReplicasPerNode`, placement.maxReplicasPerNode, limits.replicas);
  requireWhole(`${path}.placement.strategy`, placement.strategy, PlacementStrategy.spread);
  requireCount(`${path}.placement.constraints`, placement.constraints, limits.listItems);
  requireCount(`${path}.placement.preferences`, placement.preferences, limits.listItems);
  requireCount(`${path}.placement.tolerations`, placement.tolerations, limits.listItems);
  for (const toleration of placement.tolerations) requireText(`${path}.placement.tolerations`, toleration, 512);
  for (const constraint of placement.constraints) {
    requireText(`${path}.placement.constraints`, constraint, 1024);
    requireConstraint(`${path}.placement.constraints`, constraint);
  }
  validateAffinities(`${path}.placement.affinities`, placement, app);
  for (const { spread } of placement.preferences) {
    if (!isAttribute(spread)) refuse(`${path}.placement.preferences`, 'a node attribute such as "node.labels.zone"', spread);
  }
}

function validateAffinities(path: string, placement: Placement, app: AppSpec): void {
  requireCount(path, placement.affinities, limits.affinities);
  for (const { service, within } of placement.affinities) {
    const names = service.split('/');
    if (names.length > 2) refuse(path, 'a service of the namespace, "cache" or "shop/cache"', service);
    for (const name of names) requireName(path, name);
    if (names.length === 1 && !app.services.some(({ name }) => name === service)) refuse(path, 'a service of the app', service);
    if (within !== '' && !isAttribute(within)) refuse(path, 'within a node attribute such as "node.zone"', within);
  }
}

/** Read as the planner will read it. */
function requireConstraint(path: string, constraint: string): void {
  try {
    parseConstraint(constraint);
  } catch (error) {
    refuse(path, `like "node.labels.disk == ssd" (${GantryError.from(error).message})`, constraint);
  }
}

function validateUpdate(path: string, policy: UpdatePolicy | null): void {
  if (!policy) return;
  requireWhole(`${path}.parallelism`, policy.parallelism, limits.replicas);
  requireWhole(`${path}.order`, policy.order, 1);
  requireWhole(`${path}.failureAction`, policy.failureAction, 2);
  for (const key of ['delayUs', 'monitorUs', 'progressDeadlineUs'] as const) requireWhole(`${path}.${key}`, policy[key], 8.64e10 * 7);
  if (!(policy.maxFailureRatio >= 0 && policy.maxFailureRatio <= 1))
    refuse(`${path}.maxFailureRatio`, 'from 0 to 1', policy.maxFailureRatio);
}

function validateAutoscale(path: string, autoscale: Autoscale | null, mode: ServiceSpecMode): void {
  if (!autoscale) return;
  if (mode !== ServiceSpecMode.replicated) refuse(path, 'used with replicated services only');
  requireWhole(`${path}.min`, autoscale.min, limits.replicas);
  requireWhole(`${path}.max`, autoscale.max, limits.replicas, Math.max(1, autoscale.min));
  requireWhole(`${path}.cpuPercent`, autoscale.cpuPercent, 1000);
  requireWhole(`${path}.memoryPercent`, autoscale.memoryPercent, 1000);
  requireWhole(`${path}.tolerancePercent`, autoscale.tolerancePercent, 100);
  if (autoscale.cpuPercent === 0 && autoscale.memoryPercent === 0) refuse(path, 'given a target: cpuPercent or memoryPercent');
}

function requireAcyclic(services: readonly ServiceSpec[]): void {
  const edges = new Map(services.map((service) => [service.name, service.dependsOn.map((dependency) => dependency.service)]));
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) refuse(`services.${name}.dependsOn`, 'free of cycles', [...path.slice(path.indexOf(name)), name].join(' -> '));
    if (done.has(name)) return;
    for (const next of edges.get(name) ?? []) visit(next, [...path, name]);
    done.add(name);
  };
  for (const name of edges.keys()) visit(name, []);
}
