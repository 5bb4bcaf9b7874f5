import { ManualClock } from '@gantry/common';
import { expect, test } from 'vitest';
import { Link, type LinkState } from './link.ts';
import { nextSessionState } from './state.ts';

function build() {
  const clock = new ManualClock();
  const states: LinkState[] = [];
  const link = new Link({ clock, cutOffMs: 3000, onChange: (state) => states.push(state) });
  return { clock, states, link };
}

test('without any contact the node counts as cut off when the time is over, not before', async () => {
  const { clock, states, link } = build();
  await clock.advance(2999);
  expect(link.state).toBe('unknown');
  await clock.advance(1);
  expect(states).toEqual(['cutOff']);
});

test('the time counts from the sending of the last answered heartbeat', async () => {
  const { clock, states, link } = build();
  link.sent(1);
  await clock.advance(900);
  link.confirmed(1);
  link.sent(2);
  await clock.advance(2099);
  expect(states).toEqual(['connected']);
  await clock.advance(1);
  expect(states).toEqual(['connected', 'cutOff']);
});

test('an answer that comes too late brings no contact, a fresh one does', async () => {
  const { clock, states, link } = build();
  link.sent(1);
  await clock.advance(3500);
  link.confirmed(1);
  expect(link.state).toBe('cutOff');
  link.sent(2);
  link.confirmed(2);
  link.confirmed(99);
  expect(states).toEqual(['cutOff', 'connected']);
});

test('a session moves by its table only', () => {
  const dialing = nextSessionState({ kind: 'idle' }, { kind: 'dial', address: 'a:1' });
  expect(nextSessionState(dialing, { kind: 'failed', reason: 'no' })).toEqual({ kind: 'waiting', attempt: 1, reason: 'no' });
  const established = nextSessionState(dialing, { kind: 'welcomed', session: 4 });
  expect(nextSessionState(established, { kind: 'failed', reason: 'gone' })).toEqual({ kind: 'waiting', attempt: 0, reason: 'gone' });
  expect(() => nextSessionState({ kind: 'idle' }, { kind: 'welcomed', session: 1 })).toThrow('no welcomed while idle');
  expect(() => nextSessionState({ kind: 'closed' }, { kind: 'dial', address: 'a:1' })).toThrow('no dial while closed');
});
