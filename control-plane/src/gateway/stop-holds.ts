import type { Clock } from '@gantry/common';

interface Hold {
  readonly version: number;
  readonly waitingFor: Set<object>;
  readonly cancel: () => void;
}

/**
 * Keeps back the order to stop a container that traffic was sent to, until every session has said that it no longer sends
 * there, or until the time is up.
 */
export class StopHolds {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #onRelease: (containerId: string) => void;
  readonly #holds = new Map<string, Hold>();

  /** @param onRelease told when a container may be stopped. */
  constructor(clock: Clock, limitMs: number, onRelease: (containerId: string) => void) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#onRelease = onRelease;
  }

  get size(): number {
    return this.#holds.size;
  }

  isHeld(containerId: string): boolean {
    return this.#holds.has(containerId);
  }

  /** @param version of the endpoints without the container, which each of the sessions must acknowledge. */
  hold(containerId: string, version: number, sessions: Iterable<object>): void {
    const waitingFor = new Set(sessions);
    if (waitingFor.size === 0 || this.#holds.has(containerId)) return;
    const cancel = this.#clock.timer(this.#limitMs, () => this.#release(containerId));
    this.#holds.set(containerId, { version, waitingFor, cancel });
  }

  acknowledged(session: object, version: number): void {
    for (const [id, hold] of this.#holds) if (hold.version <= version) this.#drop(id, hold, session);
  }

  /** The session is over: nobody waits for it. */
  ended(session: object): void {
    for (const [id, hold] of this.#holds) this.#drop(id, hold, session);
  }

  stop(): void {
    for (const hold of this.#holds.values()) hold.cancel();
    this.#holds.clear();
  }

  #drop(id: string, hold: Hold, session: object): void {
    if (hold.waitingFor.delete(session) && hold.waitingFor.size === 0) this.#release(id);
  }

  #release(id: string): void {
    this.#holds.get(id)?.cancel();
    if (this.#holds.delete(id)) this.#onRelease(id);
  }
}
