import { Code, GantryError } from '@gantry/common';
import type { Change, ClusterView } from '../cluster/view.ts';
import type { ChangeLog } from './change-log.ts';

/** How long a watch after a revision that is not here yet waits for it. */
const aheadMs = 5000;

export interface ViewWatch<T> {
  readonly view: ClusterView;
  readonly changes: ChangeLog;
  readonly signal: AbortSignal;
  /** 0: snapshot first. */
  readonly fromRevision: number;
  /** Ids of everything that is watched. */
  readonly ids: () => Iterable<string>;
  /** Ids that a change may concern, watched or not. */
  readonly affected: (change: Change) => Iterable<string>;
  /** The message for what an id stands for now; undefined when it is not there or not watched. */
  readonly message: (id: string, revision: number) => T | undefined;
  readonly removed: (id: string, revision: number) => T | undefined;
  /** The message that ends the snapshot. */
  readonly synced: (revision: number) => T;
}

/**
 * Messages from the view: a snapshot, or what changed after a revision, then every change. What waits for a slow reader
 * is one id each, so that many changes of one thing become one message with its newest state.
 * @throws GantryError outOfRange when the changes after `fromRevision` are no longer known.
 */
export async function* watchView<T>(watch: ViewWatch<T>): AsyncGenerator<T, void, void> {
  const { view, signal, fromRevision } = watch;
  const dirty = new Set<string>();
  const known = new Set<string>();
  let wake = () => {};
  const end = view.onChange((changes) => {
    for (const change of changes) for (const id of watch.affected(change)) dirty.add(id);
    wake();
  });
  const onAbort = () => wake();
  signal.addEventListener('abort', onAbort);
  try {
    // what a returning watcher was told of before is not known: it may be told of a removal twice
    const returned = fromRevision > 0 ? await missed(watch, fromRevision) : undefined;
    const told = (id: string) => known.has(id) || (returned?.has(id) ?? false);
    for (const id of returned ?? [...watch.ids()]) {
      const message = watch.message(id, view.revision) ?? (returned && watch.removed(id, view.revision));
      if (message === undefined) continue;
      known.add(id);
      yield message;
    }
    yield watch.synced(view.revision);
    while (!signal.aborted) {
      if (dirty.size === 0) await new Promise<void>((resolve) => (wake = resolve));
      const ids = [...dirty];
      dirty.clear();
      for (const id of ids) {
        const message = watch.message(id, view.revision);
        if (message !== undefined) {
          known.add(id);
          yield message;
        } else if (told(id) || fromRevision > 0) {
          known.delete(id);
          const removal = watch.removed(id, view.revision);
          if (removal !== undefined) yield removal;
        }
      }
    }
  } finally {
    end();
    signal.removeEventListener('abort', onAbort);
  }
}

/** Ids of what changed after the revision. */
async function missed<T>({ view, changes, signal, affected }: ViewWatch<T>, fromRevision: number): Promise<Set<string>> {
  if (fromRevision > view.revision)
    await view.atLeast(fromRevision, AbortSignal.any([signal, AbortSignal.timeout(aheadMs)])).catch(() => {});
  const since = fromRevision > view.revision ? undefined : changes.since(fromRevision);
  if (!since) {
    throw new GantryError(
      Code.outOfRange,
      `cannot watch from revision ${fromRevision}: its changes must still be known, found revision ${view.revision}`,
      {
        details: { hint: 'start over without a revision' },
      },
    );
  }
  return new Set(since.flatMap((change) => [...affected(change)]));
}
