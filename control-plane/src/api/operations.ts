import { Code, GantryError } from '@gantry/common';
import { type Handlers, ListOperationsResponse, type Operation, OperationState, type OperationsService } from '@gantry/proto';
import type { Identity } from '../security/authn.ts';
import { nameOf, notFound } from './access.ts';
import type { Api } from './context.ts';
import { pageOf } from './paging.ts';

const ended: ReadonlySet<number> = new Set([OperationState.succeeded, OperationState.failed, OperationState.cancelled]);

/** Handlers of the service Operations. */
export function createOperationsApi(api: Api): Handlers<typeof OperationsService, Identity> {
  const { view, guard } = api;
  return {
    list: async ({ page }) => {
      const newestFirst = [...view.operations.values()]
        .map(({ value }) => [sortKey(value), value] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1));
      const { items, nextToken } = pageOf(newestFirst, page, ([key]) => key);
      return ListOperationsResponse.create({ operations: items.map(([, operation]) => operation), nextToken });
    },
    get: ({ id }, { signal }) => findFresh(api, id, signal),
    watch: ({ id }, { identity, signal }) => guard.watching(identity, watch(api, id, signal)),
    cancel: ({ requestId, id }, { identity, path, signal }) =>
      guard.once(identity, path, requestId, async () => api.operations.cancel((await findFresh(api, id, signal)).id, nameOf(identity))),
  };
}

function sortKey({ createdAt, id }: Operation): string {
  return `${String(1e17 - createdAt).padStart(18, '0')}/${id}`;
}

/** By id or a unique prefix. */
function find({ view }: Api, id: string): Operation {
  const exact = view.operations.get(id)?.value;
  if (exact) return exact;
  const fits = id.length < 4 ? [] : [...view.operations.values()].filter(({ value }) => value.id.startsWith(id));
  if (fits.length !== 1) throw notFound('operation', id, 'see gantry operation ls');
  return fits[0]!.value;
}

/** Like find; one that was accepted a moment ago, here or by another control plane, is waited for. */
async function findFresh(api: Api, id: string, signal: AbortSignal): Promise<Operation> {
  try {
    return find(api, id);
  } catch (error) {
    if (GantryError.from(error).code !== Code.notFound) throw error;
    await api.view.atLeast(await api.store.revision(), signal);
    return find(api, id);
  }
}

/** The operation now and after every change, until it has ended or is gone. */
async function* watch(api: Api, id: string, signal: AbortSignal): AsyncGenerator<Operation, void, void> {
  const { view } = api;
  const { id: full } = await findFresh(api, id, signal);
  let wake = () => {};
  let dirty = true;
  const stop = view.onChange((changes) => {
    if (!changes.some((change) => change.collection === 'operations' && change.id === full)) return;
    dirty = true;
    wake();
  });
  const onAbort = () => wake();
  signal.addEventListener('abort', onAbort);
  try {
    while (!signal.aborted) {
      if (!dirty) await new Promise<void>((resolve) => (wake = resolve));
      if (signal.aborted) return;
      dirty = false;
      const operation = view.operations.get(full)?.value;
      if (!operation) return;
      yield operation;
      if (ended.has(operation.state)) return;
    }
  } finally {
    stop();
    signal.removeEventListener('abort', onAbort);
  }
}
