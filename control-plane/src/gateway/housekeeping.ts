import { type Clock, GantryError, type Logger, startLoop } from '@gantry/common';
import type { Change, ClusterView } from '../cluster/view.ts';
import { type Comparison, maxTransactionWrites, type Store, type Write } from '../store/store.ts';

export interface HousekeepingOptions {
  store: Store;
  view: ClusterView;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
}

/**
 * Removes the gateway's own records that nothing stands behind any more: statuses of containers that are assigned nowhere
 * (one that was late), and machines of nodes that have been removed.
 */
export class Housekeeping {
  readonly #options: HousekeepingOptions;
  readonly #trigger: () => void;

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    const { clock, log, signal } = options;
    const loop = startLoop({
      name: 'gateway housekeeping',
      clock,
      intervalMs: 0,
      debounceMs: 20,
      run: async () => await this.#clean(),
      onError: (error) => log.debug({ err: GantryError.from(error).message }, 'cannot remove old records, will try again'),
    });
    this.#trigger = () => loop.trigger();
    signal.addEventListener('abort', () => void loop.stop(), { once: true });
  }

  /** Looks whether changes have left something behind. */
  look(changes: readonly Change[]): void {
    const { view } = this.#options;
    const isLeft = changes.some(({ collection, id }) => {
      if (collection === 'statuses' || collection === 'assignments') return view.statuses.has(id) && !view.assignments.has(id);
      return (collection === 'nodes' || collection === 'machines') && view.machines.has(id) && !this.#isMember(id);
    });
    if (isLeft) this.#trigger();
  }

  #isMember(node: string): boolean {
    const settings = this.#options.view.nodes.get(node)?.value;
    return settings !== undefined && !settings.removed;
  }

  async #clean(): Promise<undefined> {
    const { view, store, signal } = this.#options;
    const statuses = [...view.statuses].filter(([id]) => !view.assignments.has(id)).map(([, entry]) => entry);
    const machines = [...view.machines].filter(([id]) => !this.#isMember(id)).map(([, entry]) => entry);
    const left = [...statuses, ...machines];
    for (let start = 0; start < left.length && !signal.aborted; start += maxTransactionWrites) {
      const chunk = left.slice(start, start + maxTransactionWrites);
      const compare = chunk.map(({ key, modRevision }): Comparison => ({ kind: 'modRevision', key, equals: modRevision }));
      const writes = chunk.map(({ key }): Write => ({ kind: 'delete', key }));
      const { revision } = await store.transact({ compare, writes });
      await view.atLeast(revision, signal);
    }
    return undefined;
  }
}
