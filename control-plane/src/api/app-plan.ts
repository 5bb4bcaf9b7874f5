import {
  App,
  type AppSpec,
  type FileSpec,
  ServiceChangeKind as Kind,
  Revision,
  Service,
  ServiceChange,
  type ServiceKey,
  type ServiceSpec,
  Volume,
} from '@gantry/proto';
import { type ClusterView, type Entry, revisionId, serviceId } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import type { Comparison, Write } from '../store/store.ts';
import { containerHash, diffFiles, diffService } from './diff.ts';

/** Revisions of a service that are kept beside those that containers still have. */
const keptRevisions = 20;

/** What the app is now. */
export interface AppState {
  readonly app: Entry<App> | undefined;
  /** By name; also those that are being removed. */
  readonly services: ReadonlyMap<string, Entry<Service>>;
}

/** Who changes an app, when and by which call. */
export interface Change {
  readonly by: string;
  readonly nowUs: number;
  readonly requestId: string;
  /** A new unique id. */
  readonly newId: () => string;
}

/** One service before and after; a side is missing when it is new or goes. */
export interface ServiceStep {
  readonly change: ServiceChange;
  readonly before: Service | undefined;
  readonly after: Service | undefined;
  /** With a change of generation. */
  readonly revision: Revision | undefined;
}

/** How an app becomes what a spec says. */
export interface AppPlan {
  readonly steps: readonly ServiceStep[];
  /** Records that nothing acts on until a service names them: written first. */
  readonly inert: readonly Write[];
  readonly services: readonly Write[];
  readonly app: Write;
  /** All that was read. */
  readonly compare: readonly Comparison[];
  /** Whether nothing has to be written. */
  readonly unchanged: boolean;
}

/** The app's records in the view. */
export function appState(view: ClusterView, namespace: string, app: string): AppState {
  const id = `${namespace}/${app}`;
  const services = new Map([...view.servicesOf(id).values()].map((entry) => [entry.value.key?.service ?? '', entry] as const));
  return { app: view.apps.get(id), services };
}

/** Digests of the files that a service refers to, as its revision keeps them. */
function fileDigests(spec: ServiceSpec, app: Pick<AppSpec, 'configs' | 'secrets'>): Record<string, string> {
  const digests: Record<string, string> = {};
  for (const [kind, references, files] of [
    ['config', spec.container?.configs ?? [], app.configs],
    ['secret', spec.container?.secrets ?? [], app.secrets],
  ] as const) {
    for (const { source } of references) digests[`${kind}/${source}`] = files.find((file) => file.name === source)?.digest ?? '';
  }
  return digests;
}

/** Works out what to write. Pure. @param spec checked, with defaults and the files' digests filled. */
export function planApp(spec: AppSpec, state: AppState, view: ClusterView, change: Change): AppPlan {
  const wanted = new Set(spec.services.map((service) => service.name));
  const goes = [...state.services.values()].filter(({ value }) => !wanted.has(value.key?.service ?? '') && value.deletedAt === 0);
  const steps = [
    ...spec.services.map((service) => planService(spec, service, state, view, change)),
    ...goes.map(({ value }) => removeService(value, change)),
  ];
  const app = appRecord(spec, state, change);
  const touched = steps.filter(({ change: { kind } }) => kind !== Kind.unchanged);
  const unchanged = touched.length === 0 && sameApp(state.app?.value, app);
  return {
    steps,
    inert: [...touched.flatMap(({ revision }) => (revision ? [putRevision(revision)] : [])), ...newVolumes(spec, view, change)],
    services: touched.map(({ after }) => putService(after!)),
    app: { kind: 'put', key: keys.app(spec.namespace, spec.name), value: App.encode(app) },
    compare: [
      { kind: 'modRevision', key: keys.app(spec.namespace, spec.name), equals: state.app?.modRevision ?? 0 },
      ...touched.map(({ after }) => compareService(after!.key!, state)),
    ],
    unchanged,
  };
}

function planService(app: AppSpec, spec: ServiceSpec, state: AppState, view: ClusterView, change: Change): ServiceStep {
  const key: ServiceKey = { namespace: app.namespace, app: app.name, service: spec.name };
  const present = state.services.get(spec.name)?.value;
  const before = present && present.deletedAt === 0 ? present : undefined;
  const digests = fileDigests(spec, app);
  if (!before) {
    const after = Service.create({
      key,
      spec,
      generation: (present?.generation ?? 0) + 1,
      createdAt: change.nowUs,
      uid: change.newId(),
      ...stamp(change),
    });
    return step(Kind.created, [], before, after, revisionOf(after, digests, change));
  }
  const current = view.revisions.get(revisionId(key, before.generation))?.value;
  const { kind, fields } = diffService(before.spec ?? undefined, spec);
  const files = diffFiles(current?.fileDigests ?? {}, digests);
  if (kind === Kind.unchanged && files.length === 0) return step(Kind.unchanged, [], before, before, undefined);
  if (kind === Kind.scaled && files.length === 0)
    return step(Kind.scaled, fields, before, { ...before, spec, ...stamp(change) }, undefined);
  const after = { ...before, spec, generation: before.generation + 1, ...stamp(change) };
  return step(Kind.updated, [...fields, ...files], before, after, revisionOf(after, digests, change));
}

function step(
  kind: Kind,
  fields: ServiceChange['fields'],
  before: Service | undefined,
  after: Service,
  revision: Revision | undefined,
): ServiceStep {
  const change = ServiceChange.create({ service: after.key?.service ?? '', kind, fields, generation: after.generation });
  return { change, before, after, revision };
}

/** Marks a service as to be removed: the orchestrator stops its containers and then removes its records. */
export function removeService(before: Service, change: Change): ServiceStep {
  return step(Kind.removed, [], before, { ...before, deletedAt: change.nowUs, ...stamp(change) }, undefined);
}

function stamp({ by, nowUs, requestId }: Change): Pick<Service, 'updatedAt' | 'updatedBy' | 'requestId'> {
  return { updatedAt: nowUs, updatedBy: by, requestId };
}

/** The immutable copy of a service's present spec. */
export function revisionOf({ key, spec, generation }: Service, digests: Record<string, string>, change: Change): Revision {
  return Revision.create({
    key,
    number: generation,
    spec,
    containerHash: spec ? containerHash(spec, digests) : '',
    createdAt: change.nowUs,
    createdBy: change.by,
    fileDigests: digests,
  });
}

export function putRevision(revision: Revision): Write {
  return { kind: 'put', key: keys.revision(revision.key!, revision.number), value: Revision.encode(revision) };
}

export function putService(service: Service): Write {
  return { kind: 'put', key: keys.service(service.key!), value: Service.encode(service) };
}

function compareService(key: ServiceKey, state: AppState): Comparison {
  return { kind: 'modRevision', key: keys.service(key), equals: state.services.get(key.service)?.modRevision ?? 0 };
}

function newVolumes(spec: AppSpec, view: ClusterView, { nowUs }: Change): Write[] {
  const { namespace, name: app } = spec;
  return spec.volumes
    .filter((volume) => !view.volumes.has(`${namespace}/${app}/${volume.name}`))
    .map((volume) => {
      const value = Volume.encode(Volume.create({ namespace, app, spec: volume, createdAt: nowUs }));
      return { kind: 'put', key: keys.volume(namespace, app, volume.name), value };
    });
}

function appRecord(spec: AppSpec, { app }: AppState, { nowUs, requestId }: Change): App {
  const alive = app && app.value.deletedAt === 0 ? app.value : undefined;
  const bare = ({ name, digest }: FileSpec): FileSpec => ({ name, digest, content: new Uint8Array() });
  return App.create({
    namespace: spec.namespace,
    name: spec.name,
    services: spec.services.map((service) => service.name),
    volumes: spec.volumes,
    configs: spec.configs.map(bare),
    secrets: spec.secrets.map(bare),
    createdAt: alive?.createdAt ?? nowUs,
    updatedAt: nowUs,
    requestId,
  });
}

/** Whether two records say the same, times and idempotency keys aside. */
function sameApp(before: App | undefined, after: App): boolean {
  if (!before) return false;
  const bare = (app: App) => App.encode({ ...app, createdAt: 0, updatedAt: 0, requestId: '' });
  return Buffer.from(bare(before)).equals(bare(after));
}

/** Revisions of a service that nobody needs any more: not the newest, not one that a container or the rollout has. */
export function staleRevisions(view: ClusterView, key: ServiceKey): Write[] {
  const id = serviceId(key);
  const rollout = view.rollouts.get(id)?.value;
  const used = new Set([...view.assignmentsOf(id).values()].map(({ value }) => value.revision));
  for (const number of rollout ? [rollout.fromRevision, rollout.toRevision, rollout.targetRevision] : []) used.add(number);
  const old = view.revisionsOf(id).slice(0, -keptRevisions);
  return old.filter(({ number }) => !used.has(number)).map(({ number }) => ({ kind: 'delete', key: keys.revision(key, number) }));
}
