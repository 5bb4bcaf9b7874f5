import { spawn } from 'node:child_process';
import { type Clock, Code, GantryError, sleep } from '@gantry/common';
import { changeScript, type PortTable, type PublishedPorts, tableScript } from './ports-plan.ts';

/** Most of nft's complaint that goes into an error. */
const complaintBytes = 2000;

/** After a run later changes gather this long: a rollout makes many, and a run costs some 6 ms of CPU. */
const gatherMs = 20;

/** Runs one nft script, all of it or nothing. */
export type RunNft = (script: string) => Promise<void>;

/** Runs scripts by the `nft` program. */
export function nftProgram(binary = 'nft'): RunNft {
  return (script) =>
    new Promise((resolve, reject) => {
      const child = spawn(binary, ['-f', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
      let complaint = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        complaint = (complaint + text).slice(0, complaintBytes);
      });
      child.on('error', (cause) =>
        reject(
          new GantryError(Code.failedPrecondition, `cannot run "${binary}": ${cause.message}`, {
            cause,
            details: { hint: 'apt-get install nftables' },
          }),
        ),
      );
      child.on('close', (code, signal) => {
        if (code === 0) return resolve();
        reject(new GantryError(Code.internal, `cannot apply nft rules (${signal ?? code}): ${complaint.trim()}`));
      });
      // a program that ends before it has read is told about by its exit
      child.stdin.on('error', () => {});
      child.stdin.end(script);
    });
}

/**
 * Keeps the kernel's table of published ports equal to the wanted one. While one change is being
 * applied later ones gather and go together; everyone is told when the kernel has theirs or newer.
 */
export class PortRules {
  readonly #table: PortTable;
  readonly #run: RunNft;
  readonly #clock: Clock;
  #applied: PublishedPorts | undefined;
  #wanted: PublishedPorts = new Map();
  #applying: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(table: PortTable, options: { run: RunNft; clock: Clock }) {
    this.#table = table;
    this.#run = options.run;
    this.#clock = options.clock;
  }

  /** Resolves when the kernel has these ports. A failure leaves its former ones and is tried again with the next call. */
  set(ports: PublishedPorts): Promise<void> {
    this.#wanted = ports;
    if (this.#next !== undefined) return this.#next;
    if (this.#applying === undefined) return this.#begin();
    // what is under way began before this call: one more run is needed, for all who come meanwhile
    this.#next = this.#applying
      .catch(() => {})
      .then(() => sleep(this.#clock, gatherMs))
      .then(() => this.#begin());
    return this.#next;
  }

  #begin(): Promise<void> {
    this.#next = undefined;
    this.#applying = this.#apply().finally(() => {
      this.#applying = undefined;
    });
    return this.#applying;
  }

  async #apply(): Promise<void> {
    const wanted = this.#wanted;
    const { table } = this.#table;
    const script = this.#applied === undefined ? tableScript(this.#table, wanted) : changeScript(table, this.#applied, wanted);
    if (script === '') {
      this.#applied = wanted;
      return;
    }
    try {
      await this.#run(script);
      this.#applied = wanted;
    } catch (error) {
      // somebody else may have changed the table: the next script makes it anew
      this.#applied = undefined;
      throw error;
    }
  }
}
