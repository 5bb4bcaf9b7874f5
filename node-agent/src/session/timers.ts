import { Heartbeat, type Welcome } from '@gantry/proto';
import type { Outgoing } from './outgoing.ts';
import type { SessionPorts } from './ports.ts';

const defaultHeartbeatMs = 1000;
const defaultReportMs = 5000;
/** Without any word for this long, counted in heartbeats, the connection counts as dead. */
const silentHeartbeats = 3.5;
const urgentReports = 10;
const urgentReportMs = 1000;

/** What repeats on one connection: heartbeats, reports, and the check that the other side still answers. */
export class SessionTimers {
  readonly #ports: SessionPorts;
  readonly #outgoing: Outgoing;
  readonly #onSilence: (reason: string) => void;
  readonly #cancels = new Map<'heartbeat' | 'report', () => void>();
  #heardAtMs: number;
  #sequence = 0;
  #urgent = 0;
  #reportMs = defaultReportMs;
  #stopped = false;

  constructor(ports: SessionPorts, outgoing: Outgoing, onSilence: (reason: string) => void) {
    this.#ports = ports;
    this.#outgoing = outgoing;
    this.#onSilence = onSilence;
    this.#heardAtMs = ports.clock.monotonicMs();
  }

  start(welcome: Welcome): void {
    this.#reportMs = welcome.reportUs > 0 ? welcome.reportUs / 1000 : defaultReportMs;
    this.#beat(welcome.heartbeatUs > 0 ? welcome.heartbeatUs / 1000 : defaultHeartbeatMs);
    this.#report();
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#cancels.values()) cancel();
  }

  /** The other side said something. */
  heard(): void {
    this.#heardAtMs = this.#ports.clock.monotonicMs();
  }

  /** A report at once, then each second for ten seconds. */
  reportNow(): void {
    this.#urgent = urgentReports;
    this.#report();
  }

  #after(name: 'heartbeat' | 'report', delayMs: number, action: () => void): void {
    if (this.#stopped) return;
    this.#cancels.get(name)?.();
    this.#cancels.set(name, this.#ports.clock.timer(delayMs, action));
  }

  #beat(everyMs: number): void {
    const { clock, link } = this.#ports;
    const silentMs = clock.monotonicMs() - this.#heardAtMs;
    if (silentMs > silentHeartbeats * everyMs) {
      this.#onSilence(`no word from the control plane for ${Math.round(silentMs)} ms`);
      return;
    }
    this.#outgoing.heartbeat(() => {
      link.sent(++this.#sequence);
      return Heartbeat.create({ sequence: this.#sequence, at: clock.nowUs() });
    });
    this.#after('heartbeat', everyMs, () => this.#beat(everyMs));
  }

  #report(): void {
    this.#outgoing.report(this.#ports.report());
    if (this.#urgent > 0) this.#urgent--;
    this.#after('report', this.#urgent > 0 ? urgentReportMs : this.#reportMs, () => this.#report());
  }
}
