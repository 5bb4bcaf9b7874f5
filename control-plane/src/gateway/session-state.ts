import { Code, GantryError } from '@gantry/common';

/** Where a session of an agent stands. It moves forward only. */
export type SessionState =
  /** The stream is open, the hello has not come yet. */
  | { readonly kind: 'greeting' }
  /** The hello has been read; the node's record is being written. */
  | { readonly kind: 'registering'; readonly epoch: number }
  | { readonly kind: 'active'; readonly epoch: number; readonly number: number }
  | { readonly kind: 'ended'; readonly reason: string };

export type SessionEvent =
  | { readonly kind: 'hello'; readonly epoch: number }
  | { readonly kind: 'registered'; readonly number: number }
  | { readonly kind: 'end'; readonly reason: string };

/**
 * The state after an event. An ended session stays ended, with its first reason.
 * @throws GantryError invalidArgument for an event that the state does not know: the agent broke the protocol.
 */
export function nextSessionState(state: SessionState, event: SessionEvent): SessionState {
  if (state.kind === 'ended') return state;
  if (event.kind === 'end') return { kind: 'ended', reason: event.reason };
  if (state.kind === 'greeting' && event.kind === 'hello') return { kind: 'registering', epoch: event.epoch };
  if (state.kind === 'registering' && event.kind === 'registered') return { kind: 'active', epoch: state.epoch, number: event.number };
  throw new GantryError(Code.invalidArgument, `cannot take "${event.kind}" in a session that is ${state.kind}`);
}
