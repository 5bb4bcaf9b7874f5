import { Code, GantryError } from '@gantry/common';
import type { Transaction } from '../store/store.ts';
import type { ApiDeps } from './ports.ts';

/** Attempts when others change the same records at the same time. */
const attempts = 5;
/** Longest wait for the view to show a write; the answer is then correct but may be read before. */
const readBackMs = 2000;

/** What an attempt came to: a transaction, or nothing to write. */
export type Attempt<T> = { readonly transaction: Transaction; readonly result: T } | { readonly result: T };

type CommitDeps = Pick<ApiDeps, 'store' | 'view'>;

/**
 * Makes a change that was worked out from the view. When a comparison fails, the view is brought up to date and the
 * change worked out again. Afterwards the view shows it.
 * @throws GantryError aborted when others were always first; what the attempt throws.
 */
export async function commit<T>(
  deps: CommitDeps,
  subject: string,
  attempt: () => Promise<Attempt<T>> | Attempt<T>,
): Promise<{ result: T; revision: number }> {
  for (let count = 0; count < attempts; count++) {
    const worked = await attempt();
    if (!('transaction' in worked)) return { result: worked.result, revision: deps.view.revision };
    const { succeeded, revision } = await deps.store.transact(worked.transaction);
    await shows(deps, revision);
    if (succeeded) return { result: worked.result, revision };
  }
  throw conflict(subject);
}

export function conflict(subject: string): GantryError {
  return new GantryError(Code.aborted, `cannot change "${subject}": others changed it at the same time`, {
    details: { subject, hint: 'try again' },
  });
}

/** Waits until the view shows the revision, but not for ever: then it only lags. */
export async function shows({ view }: CommitDeps, revision: number): Promise<void> {
  await view.atLeast(revision, AbortSignal.timeout(readBackMs)).catch(() => {});
}
