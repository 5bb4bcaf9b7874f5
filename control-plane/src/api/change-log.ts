import type { Change, ClusterView } from '../cluster/view.ts';

/** Changes that are kept for watchers which come back. */
const defaultLimit = 20_000;

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
    this.#changes.push(...changes);
    const excess = this.#changes.length - this.#limit;
    if (excess <= 0) return;
    const dropped = this.#changes.splice(0, excess);
    this.#from = Math.max(this.#from, ...dropped.slice(-1).map((change) => change.modRevision));
  }
}
