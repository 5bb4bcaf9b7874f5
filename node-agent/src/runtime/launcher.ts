import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { Code, GantryError } from '@gantry/common';

/** Reads one command a line; each runs on its own and is nobody's child, so that nothing has to be reaped here. */
const script = 'while IFS= read -r line; do eval "$line"; done';
const outputLimit = 64 * 1024;

type Shell = ChildProcessByStdio<Writable, Readable, null>;

/** How a program ended, with all that it wrote to both of its outputs. */
export interface Launched {
  code: number;
  output: string;
}

/**
 * Starts programs through a shell that stands ready. A process as large as this one takes milliseconds to
 * copy itself before each program it starts, and does nothing else meanwhile; a shell's copy is free.
 */
export class Launcher {
  readonly #waiting = new Map<number, { resolve: (launched: Launched) => void; reject: (error: GantryError) => void }>();
  #shell: Shell | undefined;
  #next = 1;
  #text = '';

  /**
   * Runs a program to its end; what it leaves behind must not hold its outputs open.
   * @throws GantryError unavailable when the shell went away; whether the program ran is then unknown.
   */
  run(program: string, args: readonly string[]): Promise<Launched> {
    const shell = this.#shell ?? this.#start();
    const number = this.#next++;
    const command = [program, ...args].map(quote).join(' ');
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      shell.stdin.write(`( { o=$(${command} 2>&1 </dev/null); printf '%s %s %s\\000' ${number} "$?" "$o"; } & )\n`);
    });
  }

  /** Programs under way go on. */
  close(): void {
    this.#shell?.stdin.end();
  }

  #start(): Shell {
    const shell = spawn('/bin/sh', ['-c', script], { stdio: ['pipe', 'pipe', 'ignore'], env: { PATH: process.env.PATH } });
    this.#shell = shell;
    this.#text = '';
    shell.stdout.setEncoding('utf8').on('data', (text: string) => this.#onData(text));
    shell.stdin.on('error', () => this.#lost(shell, 'it does not listen'));
    shell.on('error', (error) => this.#lost(shell, error.message));
    shell.on('exit', (code, signal) => this.#lost(shell, signal ?? `exit code ${code}`));
    return shell;
  }

  #onData(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf('\0'); end >= 0; end = this.#text.indexOf('\0')) {
      const match = /^(\d+) (\d+) (.*)$/s.exec(this.#text.slice(0, end));
      this.#text = this.#text.slice(end + 1);
      const number = Number(match?.[1]);
      this.#waiting.get(number)?.resolve({ code: Number(match?.[2]), output: match?.[3] ?? '' });
      this.#waiting.delete(number);
    }
    if (this.#text.length > outputLimit) this.#text = '';
  }

  #lost(shell: Shell, reason: string): void {
    if (this.#shell !== shell) return;
    this.#shell = undefined;
    const error = new GantryError(Code.unavailable, `lost the shell that starts programs: ${reason}`);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** As one word for a POSIX shell; a line break would end the command's line. */
function quote(word: string): string {
  if (/[\n\0]/.test(word)) throw new GantryError(Code.invalidArgument, 'cannot start a program: an argument must not hold a line break');
  return `'${word.replaceAll("'", "'\\''")}'`;
}
