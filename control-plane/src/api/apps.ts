import { Code, GantryError } from '@gantry/common';
import {
  ApplyResponse,
  type AppSpec,
  type AppsService,
  AppView,
  DeleteAppResponse,
  type Handlers,
  ServiceChangeKind as Kind,
  ListAppsResponse,
  PlanResponse,
  ServiceChange,
} from '@gantry/proto';
import type { Identity } from '../security/authn.ts';
import { nameOf, namespaceOf, notFound, required, scopeOf } from './access.ts';
import { withDigests } from './app-files.ts';
import { type AppState, appState, planApp } from './app-plan.ts';
import { applyApp, changeOf, removeServices } from './apply.ts';
import type { Api } from './context.ts';
import { dryRun } from './dry-run.ts';
import { emitChanges } from './notify.ts';
import { pageOf } from './paging.ts';
import { viewService } from './service-view.ts';
import { validateApp } from './validate.ts';

/** Handlers of the service Apps. */
export function createAppsApi(api: Api): Handlers<typeof AppsService, Identity> {
  const { view, guard } = api;
  const read = (identity: Identity, app: AppSpec | null): AppSpec => {
    const given = required('app', app);
    return withDigests(validateApp({ ...given, namespace: namespaceOf(identity, given.namespace) }));
  };
  return {
    apply: ({ requestId, app, ifRevision }, { identity, path }) =>
      guard.once(identity, path, requestId, async () => {
        const spec = read(identity, app);
        const replayed = replay(appState(view, spec.namespace, spec.name), requestId);
        if (replayed) return ApplyResponse.create({ changes: replayed, revision: view.revision });
        const change = changeOf(api, nameOf(identity), requestId);
        const { plan, revision } = await applyApp(api, spec, { change, admit: (state) => requireUnchanged(state, ifRevision) });
        emitChanges(api, plan.steps, change.by);
        return ApplyResponse.create({ changes: plan.steps.map((step) => step.change), revision });
      }),
    plan: async ({ app }, { identity }) => {
      const spec = read(identity, app);
      const state = appState(view, spec.namespace, spec.name);
      const revision = view.revision;
      const plan = planApp(spec, state, view, changeOf(api, nameOf(identity), ''));
      const { placements, capacity, warnings } = dryRun(api, plan.steps);
      const changes = plan.steps.map((step) => step.change);
      return PlanResponse.create({ changes, placements: [...placements], capacity: [...capacity], warnings: [...warnings], revision });
    },
    get: async ({ namespace, app }, { identity }) => {
      const state = appState(view, namespaceOf(identity, namespace), app);
      if (!state.app) throw notFound('app', app);
      const services = [...state.services.values()].map(({ value }) => viewService(api, value));
      return AppView.create({ app: state.app.value, services, revision: view.revision });
    },
    list: async ({ namespace, page }, { identity }) => {
      const scope = scopeOf(identity, namespace);
      const apps = [...view.apps].filter(([, { value }]) => scope === '' || value.namespace === scope).sort(([a], [b]) => (a < b ? -1 : 1));
      const { items, nextToken } = pageOf(apps, page, ([id]) => id);
      return ListAppsResponse.create({ apps: items.map(([, { value }]) => value), nextToken, revision: view.revision });
    },
    delete: ({ requestId, namespace, app, removeVolumes }, { identity, path }) =>
      guard.once(identity, path, requestId, async () => {
        const owner = namespaceOf(identity, namespace);
        const change = changeOf(api, nameOf(identity), requestId);
        const admit = (state: AppState) => {
          if (!state.app) throw notFound('app', app);
        };
        const { plan, revision } = await removeServices(api, owner, app, { change, admit, removeVolumes });
        emitChanges(api, plan.steps, change.by);
        return DeleteAppResponse.create({ changes: plan.steps.map((step) => step.change), revision });
      }),
  };
}

/** The answer to a call that was carried out before, perhaps by another control plane; without the fields' details. */
function replay(state: AppState, requestId: string): ServiceChange[] | undefined {
  if (requestId === '' || state.app?.value.requestId !== requestId) return undefined;
  return [...state.services.values()].map(({ value }) => {
    const { generation, deletedAt, key } = value;
    const done = deletedAt > 0 ? Kind.removed : generation === 1 ? Kind.created : Kind.updated;
    return ServiceChange.create({ service: key?.service ?? '', generation, kind: value.requestId === requestId ? done : Kind.unchanged });
  });
}

/** @throws GantryError aborted when somebody has changed the app since the revision. */
function requireUnchanged({ app, services }: AppState, ifRevision: number): void {
  if (ifRevision === 0) return;
  const newest = Math.max(app?.modRevision ?? 0, ...[...services.values()].map((entry) => entry.modRevision));
  if (newest <= ifRevision) return;
  throw new GantryError(
    Code.failedPrecondition,
    `cannot apply the plan: the app must be as at revision ${ifRevision}, found a change at ${newest}`,
    {
      details: { hint: 'plan again, look at the changes, apply that plan' },
    },
  );
}
