import { Code, GantryError } from '@gantry/common';
import type { Condition } from '../health/prober.ts';
import { containerPaths } from '../runtime/paths.ts';
import type { Exit, Run, Running } from '../runtime/runtime.ts';
import { allows } from './container.ts';
import type { Ledger } from './ledger.ts';
import type { ReconcilePorts } from './ports.ts';
import { afterExit } from './restart.ts';

const probeOutputBytes = 64 * 1024;

/** Follows running containers: their end, their health, what they use. */
export class Watcher {
  readonly #ports: ReconcilePorts;
  readonly #ledger: Ledger;

  constructor(ports: ReconcilePorts, ledger: Ledger) {
    this.#ports = ports;
    this.#ledger = ledger;
    ports.prober.onChange((id, condition) => this.#onCondition(id, condition));
  }

  /**
   * Begins to follow a container that was started or found running (then with the condition it was last
   * known to be in); its first condition.
   */
  follow(id: string, running: Running, { hostInterface, found }: { hostInterface: string; found?: Condition }): Condition {
    const { facts, sampler, prober, log } = this.#ports;
    const record = this.#ledger.get(id);
    sampler.track(id, { cgroupPath: `${facts.cgroupParent}/${id}`, hostInterface, pid: running.run.pid });
    running.exited
      .then((exit) => this.#onExit(id, running.run, exit))
      .catch((error: unknown) => log.error({ id, err: error }, 'cannot follow a container to its end'));
    const container = record?.assignment?.spec?.container;
    return prober.watch(
      id,
      { health: container?.health ?? null, readiness: container?.readiness ?? null },
      { address: record?.address ?? '', exec: (command, signal) => this.#probe(id, command, signal) },
      found,
    );
  }

  #onCondition(id: string, condition: Condition): void {
    const record = this.#ledger.get(id);
    if (record && allows(record, 'health')) this.#ledger.apply(id, { kind: 'health', ...condition });
  }

  #onExit(id: string, run: Run, exit: Exit): void {
    const record = this.#ledger.get(id);
    if (!record || record.run?.pid !== run.pid || record.run.startTime !== run.startTime) return;
    this.#ports.prober.unwatch(id);
    this.#ports.sampler.untrack(id);
    const restarting = record.phase.kind === 'stopping' && record.phase.goal === 'restart';
    const decision = afterExit({
      exit,
      spec: record.assignment?.spec ?? null,
      failures: record.failures,
      cause: restarting ? record.reason : '',
    });
    this.#ledger.apply(id, { kind: 'exited', exit, decision });
  }

  /** Runs a probe's command to its end; its output is only drained. */
  async #probe(id: string, command: readonly string[], signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    const paths = containerPaths(this.#ports.facts, id);
    const request = { args: command, environment: {}, user: '', workingDir: '', tty: false, stdin: false, rows: 0, columns: 0 };
    const session = await this.#ports.runtime.exec(paths, request);
    const onAbort = () => session.close();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (signal.aborted) session.close();
      let bytes = 0;
      for await (const chunk of session.output) {
        bytes += chunk.data.length;
        if (bytes > probeOutputBytes) throw new GantryError(Code.resourceExhausted, `its probe wrote more than ${probeOutputBytes} bytes`);
      }
      return await session.exitCode;
    } finally {
      signal.removeEventListener('abort', onAbort);
      session.close();
    }
  }
}
