import { Code, GantryError } from '@gantry/common';

/** Where the agent stands with the control plane. */
export type SessionState =
  | { kind: 'idle' }
  /** Hello sent, no answer yet. */
  | { kind: 'dialing'; address: string; attempt: number }
  | { kind: 'established'; address: string; session: number }
  /** The last attempt failed; `attempt` counts failures in a row. */
  | { kind: 'waiting'; attempt: number; reason: string }
  | { kind: 'closed' };

export type SessionEvent =
  | { kind: 'dial'; address: string }
  | { kind: 'welcomed'; session: number }
  | { kind: 'failed'; reason: string }
  | { kind: 'close' };

function illegal(state: SessionState, event: SessionEvent): GantryError {
  return new GantryError(Code.internal, `cannot move the session: no ${event.kind} while ${state.kind}`);
}

/**
 * The one place where the session changes its state.
 * @throws GantryError internal for a move that does not exist.
 */
export function nextSessionState(state: SessionState, event: SessionEvent): SessionState {
  if (event.kind === 'close') return { kind: 'closed' };
  switch (state.kind) {
    case 'idle':
      if (event.kind === 'dial') return { kind: 'dialing', address: event.address, attempt: 0 };
      throw illegal(state, event);
    case 'waiting':
      if (event.kind === 'dial') return { kind: 'dialing', address: event.address, attempt: state.attempt };
      throw illegal(state, event);
    case 'dialing':
      if (event.kind === 'welcomed') return { kind: 'established', address: state.address, session: event.session };
      if (event.kind === 'failed') return { kind: 'waiting', attempt: state.attempt + 1, reason: event.reason };
      throw illegal(state, event);
    case 'established':
      if (event.kind === 'failed') return { kind: 'waiting', attempt: 0, reason: event.reason };
      throw illegal(state, event);
    case 'closed':
      throw illegal(state, event);
  }
}
