import {
  type Affinity,
  ContainerSpec,
  type Dependency,
  type FileReference,
  type Mount,
  Placement,
  type Port,
  RestartPolicy,
  RestartPolicyCondition,
  ServiceSpec,
  ServiceSpecMode,
  UpdatePolicy,
} from '@gantry/proto';
import { commandLine } from './command.ts';
import { deploy, restart, standardRestart } from './deploy.ts';
import { envFiles, environment, labels, sysctls } from './environment.ts';
import { extension } from './extension.ts';
import { tmpfs, volumes } from './mounts.ts';
import { expose, ports } from './ports.ts';
import { healthcheck } from './probe.ts';
import { capabilities, gracePeriod, hostname, image, logging, securityOptions, stopSignal, ulimits, user, workingDir } from './process.ts';
import { configReferences, dependsOn, type NetworkUse, networkUses, secretReferences } from './references.ts';
import { blkio, type ResourceKeys, resourcesOf } from './resources.ts';
import { bytes, cpu, flag, whole } from './scalars.ts';
import { type Context, type Fields, type Located, mapping, mustHave, type Read, type Values } from './shape.ts';
import { refusedServiceKeys } from './unsupported.ts';

const table = {
  image,
  command: commandLine,
  entrypoint: commandLine,
  environment,
  env_file: envFiles,
  user,
  working_dir: workingDir,
  hostname,
  volumes,
  tmpfs,
  configs: configReferences,
  secrets: secretReferences,
  ports,
  expose,
  networks: networkUses,
  depends_on: dependsOn,
  healthcheck,
  restart,
  stop_signal: stopSignal,
  stop_grace_period: gracePeriod,
  read_only: flag,
  init: flag,
  tty: flag,
  stdin_open: flag,
  cap_add: capabilities,
  cap_drop: capabilities,
  security_opt: securityOptions,
  sysctls,
  ulimits,
  pids_limit: whole(1, 4_194_304),
  cpus: cpu,
  mem_limit: bytes(),
  labels,
  logging,
  blkio_config: blkio,
  deploy,
  'x-gantry': extension,
};

const serviceTable = mapping(table, { refused: refusedServiceKeys, extensions: true });
type ServiceFields = Fields<typeof table>;
type ServiceValues = Values<typeof table>;

/** A service with the places of what other parts of the manifest must agree with. */
export interface ServiceDraft {
  readonly spec: ServiceSpec;
  readonly ports: readonly Located<Port>[];
  readonly mounts: readonly Located<Mount>[];
  readonly configs: readonly Located<FileReference>[];
  readonly secrets: readonly Located<FileReference>[];
  readonly dependsOn: readonly Located<Dependency>[];
  readonly networks: readonly Located<NetworkUse>[];
  readonly affinities: readonly Located<Affinity>[];
}

const defaultStopGraceUs = 10_000_000;
const defaultLog = { bytes: 10 * 2 ** 20, files: 3 };

/** One entry of `services`; its name is filled in by the caller. */
export const service: Read<ServiceDraft> = (value, context) => {
  const fields = serviceTable(value, context);
  if (!fields) return undefined;
  if (!fields.has('image') && !fields.has('build' as keyof typeof table)) {
    mustHave(value, context, 'an image');
  }
  const { values } = fields;
  const mounts = [...(values.volumes ?? []), ...(values.tmpfs ?? [])];
  const { reservation, limits } = resourcesOf(resourceKeys(fields), context);
  const networks = values.networks ?? [];
  const draft = {
    ports: [...(values.ports ?? []), ...(values.expose ?? [])],
    mounts,
    configs: values.configs ?? [],
    secrets: values.secrets ?? [],
    dependsOn: values.depends_on ?? [],
    networks,
    affinities: affinitiesOf(values),
  };
  const own = values['x-gantry']?.values;
  const spec = ServiceSpec.create({
    mode: values.deploy?.values.mode ?? ServiceSpecMode.replicated,
    replicas: replicasOf(fields, context),
    container: containerOf(fields, mounts, context),
    reservation,
    limits,
    ports: draft.ports.map(({ item }) => item),
    placement: placementOf(values),
    restart: restartOf(fields, context),
    ...updatesOf(values),
    autoscale: own?.autoscale ?? null,
    dependsOn: draft.dependsOn.map(({ item }) => item),
    labels: values.deploy?.values.labels ?? {},
    priority: own?.priority ?? 0,
    reclaimable: own?.reclaimable ?? false,
    disconnect: own?.disconnect ?? 0,
    aliases: [...new Set(networks.flatMap(({ item }) => item.aliases))],
    drainUs: own?.drain ?? 0,
  });
  return { spec, ...draft };
};

function located<K extends keyof ServiceValues>(fields: ServiceFields, key: K): Located<number> | undefined {
  const item = fields.values[key];
  return typeof item === 'number' ? { at: fields.at(key), item } : undefined;
}

function resourceKeys(fields: ServiceFields): ResourceKeys {
  const own = fields.values['x-gantry']?.values;
  return {
    deploy: fields.values.deploy?.values.resources,
    cpus: located(fields, 'cpus'),
    memory: located(fields, 'mem_limit'),
    pids: located(fields, 'pids_limit'),
    blkio: fields.values.blkio_config,
    blkioAt: fields.at('blkio_config'),
    io: own?.io,
    network: own?.network,
  };
}

function containerOf({ values, has }: ServiceFields, mounts: readonly Located<Mount>[], context: Context): ContainerSpec {
  const own = values['x-gantry'];
  if (has('healthcheck') && own?.has('health')) {
    context.problems.refuse(own.at('health'), 'cannot read x-gantry.health: must be said once, found a healthcheck too');
  }
  requireDistinct(
    mounts.map(({ at: place, item }) => ({ at: place, item: item.target })),
    'mount',
    context,
  );
  requireDistinct(
    [...(values.configs ?? []), ...(values.secrets ?? [])].map(({ at: place, item }) => ({ at: place, item: item.target })),
    'file',
    context,
  );
  const log = values.logging?.values.options?.values;
  return ContainerSpec.create({
    image: values.image ?? '',
    command: values.command ?? [],
    entrypoint: values.entrypoint ?? [],
    environment: { ...values.env_file, ...values.environment },
    user: values.user ?? '',
    workingDir: values.working_dir ?? '',
    hostname: values.hostname ?? '',
    mounts: mounts.map(({ item }) => item),
    configs: (values.configs ?? []).map(({ item }) => item),
    secrets: (values.secrets ?? []).map(({ item }) => item),
    readOnly: values.read_only ?? false,
    init: values.init ?? false,
    tty: values.tty ?? false,
    stdinOpen: values.stdin_open ?? false,
    capAdd: values.cap_add ?? [],
    capDrop: values.cap_drop ?? [],
    securityOpt: values.security_opt ?? [],
    sysctls: values.sysctls ?? {},
    ulimits: values.ulimits ?? [],
    stopSignal: values.stop_signal ?? '',
    stopGraceUs: values.stop_grace_period ?? defaultStopGraceUs,
    labels: values.labels ?? {},
    health: own?.values.health ?? values.healthcheck ?? null,
    readiness: own?.values.readiness ?? null,
    logMaxBytes: log?.['max-size'] ?? defaultLog.bytes,
    logMaxFiles: log?.['max-file'] ?? defaultLog.files,
    userNamespace: own?.values.user_namespace ?? false,
  });
}

function requireDistinct(targets: readonly Located<string>[], what: string, { problems }: Context): void {
  const seen = new Set<string>();
  for (const { at, item } of targets) {
    const path = item.replace(/\/+$/, '');
    if (seen.has(path)) problems.refuse(at, `cannot show a second ${what} at "${path}": must be another path`);
    seen.add(path);
  }
}

function replicasOf(fields: ServiceFields, { problems }: Context): number {
  const settings = fields.values.deploy;
  const mode = settings?.values.mode ?? ServiceSpecMode.replicated;
  const own = fields.values['x-gantry'];
  const autoscale = own?.values.autoscale;
  const given = settings?.values.replicas;
  const everywhere = mode === ServiceSpecMode.global || mode === ServiceSpecMode.global_job;
  if (everywhere && settings?.has('replicas')) {
    problems.refuse(
      settings.at('replicas'),
      `cannot read "${settings.path}.replicas": must be absent for a service that runs on every node`,
    );
  }
  if (autoscale && mode !== ServiceSpecMode.replicated) {
    problems.refuse(own.at('autoscale'), 'cannot scale by use: must be a service of mode replicated');
  }
  if (autoscale && given !== undefined && (given < autoscale.min || given > autoscale.max)) {
    problems.refuse(
      settings!.at('replicas'),
      `cannot start with ${given} replicas: must be from autoscale's min ${autoscale.min} to its max ${autoscale.max}`,
    );
  }
  return everywhere ? 0 : (given ?? autoscale?.min ?? 1);
}

function affinitiesOf(values: ServiceValues): Located<Affinity>[] {
  const own = values['x-gantry']?.values;
  return [...(own?.affinity ?? []), ...(own?.anti_affinity ?? [])];
}

function placementOf(values: ServiceValues): Placement {
  const said = values.deploy?.values.placement?.values;
  const own = values['x-gantry']?.values;
  return Placement.create({
    constraints: said?.constraints ?? [],
    preferences: said?.preferences ?? [],
    maxReplicasPerNode: said?.max_replicas_per_node ?? 0,
    strategy: own?.strategy ?? 0,
    tolerations: own?.tolerations ?? [],
    affinities: affinitiesOf(values).map(({ item }) => item),
  });
}

function restartOf(fields: ServiceFields, { problems }: Context): RestartPolicy {
  const settings = fields.values.deploy;
  if (fields.has('restart') && settings?.has('restart_policy')) {
    problems.refuse(fields.at('restart'), 'cannot read "restart": must be said once, found deploy.restart_policy too');
  }
  const mode = settings?.values.mode ?? ServiceSpecMode.replicated;
  const isJob = mode === ServiceSpecMode.replicated_job || mode === ServiceSpecMode.global_job;
  const given = settings?.values.restart_policy ?? fields.values.restart;
  if (isJob && given?.condition === RestartPolicyCondition.any) {
    const at = settings?.has('restart_policy') ? settings.at('restart_policy') : fields.at('restart');
    problems.refuse(at, 'cannot restart a job that has succeeded: must be on-failure or none');
  }
  const condition = isJob ? RestartPolicyCondition.on_failure : RestartPolicyCondition.any;
  return given ?? RestartPolicy.create({ ...standardRestart, condition });
}

function updatesOf(values: ServiceValues): { update: UpdatePolicy; rollback: UpdatePolicy | null } {
  const progressDeadlineUs = values['x-gantry']?.values.progress_deadline ?? 0;
  const update = values.deploy?.values.update_config ?? UpdatePolicy.create({ parallelism: 1 });
  const rollback = values.deploy?.values.rollback_config;
  return { update: { ...update, progressDeadlineUs }, rollback: rollback ? { ...rollback, progressDeadlineUs } : null };
}
