import { GantryError, newId } from '@gantry/common';
import { App, type AppSpec } from '@gantry/proto';
import { keys } from '../store/keys.ts';
import {
  type Comparison,
  checkTransaction,
  maxTransactionBytes,
  maxTransactionWrites,
  type Transaction,
  type Write,
} from '../store/store.ts';
import { newFiles, staleFiles } from './app-files.ts';
import {
  type AppPlan,
  type AppState,
  appState,
  type Change,
  planApp,
  putService,
  removeService,
  type ServiceStep,
  staleRevisions,
} from './app-plan.ts';
import { conflict, shows } from './commit.ts';
import type { ApiDeps } from './ports.ts';
import { claimPorts } from './published-ports.ts';

const attempts = 5;

/** What an apply came to. */
export interface Applied {
  readonly plan: AppPlan;
  readonly revision: number;
}

export interface ApplyOptions {
  readonly change: Change;
  /** Called with what is there before anything is written; throws to refuse. */
  readonly admit: (state: AppState) => void;
}

export interface RemoveOptions extends ApplyOptions {
  /** Only this service; default: the whole app. */
  readonly service?: string;
  /** Also forget where the app's volumes live. */
  readonly removeVolumes?: boolean;
}

/** The change that a call makes. */
export function changeOf(deps: Pick<ApiDeps, 'clock'>, by: string, requestId: string): Change {
  return { by, nowUs: deps.clock.nowUs(), requestId: requestId === '' ? newId() : requestId, newId };
}

/**
 * Makes an app what a checked spec says, in one transaction. A plan that is too large for one is written in several, in
 * this order: files, volumes, revisions and ports, which nothing acts on; then services by name; the app's record with the
 * last. All of them compare the app's record, so that two applies never mix; the same call again goes on where it stopped.
 */
export async function applyApp(deps: ApiDeps, spec: AppSpec, { change, admit }: ApplyOptions): Promise<Applied> {
  const { namespace, name } = spec;
  for (let attempt = 0; attempt < attempts; attempt++) {
    const state = appState(deps.view, namespace, name);
    admit(state);
    const plan = planApp(spec, state, deps.view, change);
    if (plan.unchanged) {
      const revision = await confirm(deps, state, plan.app.key);
      if (revision === undefined) continue;
      return { plan, revision };
    }
    const [files, claims] = await Promise.all([newFiles(deps, spec), claimPorts(deps, plan.steps)]);
    const inert = [...files.writes, ...plan.inert, ...claims.writes];
    const compare = [...plan.compare, ...files.compare, ...claims.compare];
    const revision = await commitAll(deps, { ...plan, inert, compare }, change.requestId);
    if (revision === undefined) continue;
    await tidy(deps, spec, plan.steps);
    return { plan, revision };
  }
  throw conflict(`${namespace}/${name}`);
}

/** Marks an app with all its services, or one of them, as to be removed. */
export async function removeServices(deps: ApiDeps, namespace: string, name: string, options: RemoveOptions): Promise<Applied> {
  const { change, admit, service, removeVolumes = false } = options;
  const key = keys.app(namespace, name);
  for (let attempt = 0; attempt < attempts; attempt++) {
    const state = appState(deps.view, namespace, name);
    admit(state);
    const living = [...state.services.values()].filter(
      ({ value }) => value.deletedAt === 0 && (service ?? value.key?.service) === value.key?.service,
    );
    const steps = living.map(({ value }) => removeService(value, change));
    const claims = await claimPorts(deps, steps);
    const volumes = removeVolumes ? volumesOf(deps, namespace, name) : [];
    const plan: AppPlan = {
      steps,
      inert: [...claims.writes, ...volumes],
      services: steps.map(({ after }) => putService(after!)),
      app: appWithout(state, key, service, change),
      compare: [
        { kind: 'modRevision', key, equals: state.app?.modRevision ?? 0 },
        ...living.map((entry): Comparison => ({ kind: 'modRevision', key: entry.key, equals: entry.modRevision })),
        ...claims.compare,
      ],
      unchanged: false,
    };
    const revision = await commitAll(deps, plan, change.requestId);
    if (revision === undefined) continue;
    if (service === undefined) await removeAll(deps, await staleFiles(deps, namespace, name, undefined).catch(() => []), key);
    return { plan, revision };
  }
  throw conflict(`${namespace}/${name}`);
}

/** That nothing has to be written is true only if the store still is what the view showed. @returns undefined when it is not. */
async function confirm(deps: ApiDeps, { app, services }: AppState, key: string): Promise<number | undefined> {
  const compare: Comparison[] = [
    { kind: 'modRevision', key, equals: app?.modRevision ?? 0 },
    ...[...services.values()].map((entry): Comparison => ({ kind: 'modRevision', key: entry.key, equals: entry.modRevision })),
  ];
  for (let start = 0; start < compare.length; start += maxTransactionWrites) {
    const { succeeded, revision } = await deps.store.transact({ compare: compare.slice(start, start + maxTransactionWrites), writes: [] });
    if (succeeded) continue;
    await shows(deps, revision);
    return undefined;
  }
  return deps.view.revision;
}

function volumesOf({ view }: ApiDeps, namespace: string, name: string): Write[] {
  const prefix = keys.volume(namespace, name, '');
  return [...view.volumes.values()].filter(({ key }) => key.startsWith(prefix)).map(({ key }) => ({ kind: 'delete', key }));
}

/** The app's record without a service, or none at all. */
function appWithout({ app }: AppState, key: string, service: string | undefined, { nowUs, requestId }: Change): Write {
  if (!app || service === undefined) return { kind: 'delete', key };
  const services = app.value.services.filter((name) => name !== service);
  return { kind: 'put', key, value: App.encode({ ...app.value, services, updatedAt: nowUs, requestId }) };
}

/** Writes all of a plan and waits until the view shows it. @returns undefined when others changed something. */
async function commitAll(deps: ApiDeps, plan: AppPlan, requestId: string): Promise<number | undefined> {
  const appKey = plan.app.key;
  let revision = 0;
  for (const transaction of transactions(plan)) {
    const result = await deps.store.transact(transaction).catch(async (error: unknown) => {
      // the answer may be lost though the write was done: the app's record says by which call it was written last
      const isLast = transaction.writes.includes(plan.app);
      const known = isLast ? await readBack(deps, appKey, plan.app, requestId) : undefined;
      if (known === undefined) throw error;
      return { succeeded: true, revision: known };
    });
    revision = result.revision;
    if (!result.succeeded) break;
    if (transaction.writes.includes(plan.app)) {
      await shows(deps, revision);
      return revision;
    }
  }
  await shows(deps, revision);
  return undefined;
}

/** The revision at which the app's record was written by this call; undefined when it was not, or cannot be known. */
async function readBack({ store }: Pick<ApiDeps, 'store'>, key: string, write: Write, requestId: string): Promise<number | undefined> {
  try {
    const found = await store.get(key);
    if (write.kind === 'delete') return found ? undefined : await store.revision();
    return found && App.decode(found.value).requestId === requestId ? found.modRevision : undefined;
  } catch (error) {
    if (error instanceof GantryError) return undefined;
    throw error;
  }
}

/** One transaction, or several in the order that `applyApp` tells. */
export function transactions(plan: AppPlan): Transaction[] {
  const whole: Transaction = { compare: plan.compare, writes: [...plan.inert, ...plan.services, plan.app] };
  if (fits(whole)) return [whole];
  const [appCompare, ...others] = plan.compare;
  const compareOf = new Map(others.map((comparison) => [comparison.key, comparison]));
  const chunks: Write[][] = [];
  let bytes = 0;
  for (const write of [...plan.inert, ...plan.services.toSorted((a, b) => (a.key < b.key ? -1 : 1)), plan.app]) {
    const size = write.kind === 'put' ? write.value.length : 0;
    const last = chunks.at(-1);
    // each write may bring its comparison, and the app's stands in every chunk
    if (!last || last.length >= maxTransactionWrites - 1 || bytes + size > maxTransactionBytes) {
      chunks.push([write]);
      bytes = size;
    } else {
      last.push(write);
      bytes += size;
    }
  }
  return chunks.map((writes) => {
    const own = writes.flatMap(({ key }) => compareOf.get(key) ?? []);
    return { compare: [appCompare!, ...own], writes };
  });
}

function fits(transaction: Transaction): boolean {
  try {
    checkTransaction(transaction);
    return true;
  } catch (error) {
    if (error instanceof GantryError) return false;
    throw error;
  }
}

/** Removes revisions and files that nobody needs any more; what remains is found the next time. */
async function tidy(deps: ApiDeps, spec: AppSpec, steps: readonly ServiceStep[]): Promise<void> {
  const revisions = steps.flatMap(({ after, revision }) => (revision && after?.key ? staleRevisions(deps.view, after.key) : []));
  const changed = steps.some(({ change }) => change.fields.some(({ path }) => path.startsWith('container.')));
  const files = changed ? await staleFiles(deps, spec.namespace, spec.name, spec).catch(() => []) : [];
  await removeAll(deps, [...revisions, ...files], keys.app(spec.namespace, spec.name));
}

/** Removes records that nobody needs, unless the app has been changed again since the view showed it. */
async function removeAll({ store, view, log }: ApiDeps, writes: readonly Write[], appKey: string): Promise<void> {
  const app = [...view.apps.values()].find(({ key }) => key === appKey);
  const compare: Comparison[] = [{ kind: 'modRevision', key: appKey, equals: app?.modRevision ?? 0 }];
  for (let start = 0; start < writes.length; start += maxTransactionWrites) {
    const chunk = writes.slice(start, start + maxTransactionWrites);
    await store
      .transact({ compare, writes: chunk })
      .catch((error: unknown) => log.warn({ err: error }, 'old revisions or files were not removed'));
  }
}
