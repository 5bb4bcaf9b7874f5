import type { Change, ClusterView } from '../cluster/view.ts';

/** Changes that are kept for watchers which come back. */
const defaultLimit = 10_000;

/** The view's changes of late, so that a watch can go on after a revision; bounded. */
export class ChangeLog {
  readonly #changes: Change[] = [];
  readonly #limit: number;
  /** Changes after this revision are all here. */
  #from: number;

  /** @param view must be synced. */
  constructor(view: ClusterView, limit: number = defaultLimit) {
    this.#limit = limit;
    this.#from = view.revision;
    view.onChange((changes) => this.#add(changes));
  }

  /** Changes after the revision, in order; undefined when some of them are no longer known. */
  since(revision: number): readonly Change[] | undefined {
    if (revision < this.#from) return undefined;
    return this.#changes.filter((change) => change.modRevision > revision);
  }

  #add(changes: readonly Change[]): void {
    for (const change of changes) this.#changes.push(light(change));
    const excess = this.#changes.length - this.#limit;
    if (excess <= 0) return;
    const dropped = this.#changes.splice(0, excess);
    this.#from = Math.max(this.#from, ...dropped.slice(-1).map((change) => change.modRevision));
  }
}

/** Without the spec that every assignment carries: a watcher asks only which container changed. */
function light(change: Change): Change {
  if (change.collection !== 'assignments') return change;
  const { value, previous } = change;
  return { ...change, value: value && { ...value, spec: null }, previous: previous && { ...previous, spec: null } };
}
