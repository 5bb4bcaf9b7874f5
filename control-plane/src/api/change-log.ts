import type { Change, ClusterView } from '../cluster/view.ts';

/** Changes that are kept for watchers which come back. */
const defaultLimit = 10_000;

/** The view's changes of late, so that a watch can go on after a revision; bounded. */
export class ChangeLog {
  readonly #changes: Change[] = [];
  readonly #view: ClusterView;
  readonly #limit: number;
  /** Changes up to this revision have been dropped. */
  #dropped = 0;

  constructor(view: ClusterView, limit: number = defaultLimit) {
    this.#view = view;
    this.#limit = limit;
    view.onChange((changes, revision) => {
      // the first snapshot is no news, and what was before it is not known
      if (revision > view.firstRevision) this.#add(changes);
    });
  }

  /** Changes after the revision, in order; undefined when some of them are not known. */
  since(revision: number): readonly Change[] | undefined {
    if (revision < Math.max(this.#dropped, this.#view.firstRevision)) return undefined;
    return this.#changes.filter((change) => change.modRevision > revision);
  }

  #add(changes: readonly Change[]): void {
    for (const change of changes) this.#changes.push(light(change));
    const excess = this.#changes.length - this.#limit;
    if (excess <= 0) return;
    for (const change of this.#changes.splice(0, excess)) this.#dropped = Math.max(this.#dropped, change.modRevision);
  }
}

/** Without the spec that every assignment carries: a watcher asks only which container changed. */
function light(change: Change): Change {
  if (change.collection !== 'assignments') return change;
  const { value, previous } = change;
  return { ...change, value: value && { ...value, spec: null }, previous: previous && { ...previous, spec: null } };
}
