import { Code, GantryError } from '@gantry/common';
import { FrameType } from './frames.ts';
import { controlOf, type MonitorConnection } from './monitor-connection.ts';
import type { Process, Spec } from './oci.ts';
import { resolveUser } from './passwd.ts';
import type { ExecChunk, ExecRequest, ExecSession } from './runtime.ts';

/** The process of an exec: the container's own, with what the request changes. A user's name is looked up in the image. */
export function execProcess(spec: Spec, request: ExecRequest): Process {
  const container = spec.process;
  const layers = (spec.annotations['dev.gantry.rootfs.lower'] ?? '').split(':').filter((layer) => layer !== '');
  const env = new Map(container.env.map((entry) => [entry.split('=', 1)[0]!, entry]));
  if (request.tty && !env.has('TERM')) env.set('TERM', 'TERM=xterm');
  for (const [name, value] of Object.entries(request.environment)) env.set(name, `${name}=${value}`);
  return {
    ...container,
    terminal: request.tty,
    args: [...request.args],
    env: [...env.values()],
    cwd: request.workingDir || container.cwd,
    user: request.user ? userOf(request.user, layers) : container.user,
  };
}

function userOf(text: string, layers: readonly string[]): Process['user'] {
  const { home: _home, ...user } = resolveUser(text, layers);
  return user;
}

/** Runs a process over a fresh connection. */
export async function openExec(connection: MonitorConnection, process: Process, request: ExecRequest): Promise<ExecSession> {
  const { rows, columns, tty, stdin } = request;
  const answer = await connection.request({ op: 'exec', process, tty, stdin, rows: rows || 24, cols: columns || 80 });
  return new MonitorExec(connection, answer.pid ?? 0);
}

class MonitorExec implements ExecSession {
  readonly pid: number;
  readonly output: AsyncIterable<ExecChunk>;
  readonly exitCode: Promise<number>;
  readonly #connection: MonitorConnection;
  #finish: (result: number | GantryError) => void = () => {};

  constructor(connection: MonitorConnection, pid: number) {
    this.#connection = connection;
    this.pid = pid;
    this.exitCode = new Promise((resolve, reject) => {
      this.#finish = (result) => (typeof result === 'number' ? resolve(result) : reject(result));
    });
    // whoever only reads the output must not be ended by a rejection that nobody awaits
    this.exitCode.catch(() => {});
    this.output = this.#read();
  }

  async *#read(): AsyncGenerator<ExecChunk, void, void> {
    try {
      for (;;) {
        const frame = await this.#connection.next();
        if (!frame) throw new GantryError(Code.unavailable, 'the monitor hung up before the process ended');
        if (frame.type === FrameType.stdout) yield { stream: 'stdout', data: frame.payload };
        else if (frame.type === FrameType.stderr) yield { stream: 'stderr', data: frame.payload };
        const message = controlOf(frame);
        if (message?.event !== 'exit') continue;
        this.#finish(Number(message.exitCode));
        return;
      }
    } catch (error) {
      this.#finish(GantryError.from(error, Code.unavailable));
    } finally {
      this.#finish(new GantryError(Code.cancelled, 'the reader left before the process ended'));
      this.#connection.close();
    }
  }

  write(data: Uint8Array): Promise<void> {
    // a frame without payload would close the input
    return data.length === 0 ? Promise.resolve() : this.#connection.send(FrameType.stdin, data);
  }

  closeInput(): void {
    void this.#connection.send(FrameType.stdin, new Uint8Array());
  }

  resize(rows: number, columns: number): void {
    this.#connection.control({ op: 'resize', rows, cols: columns });
  }

  signal(signal: number): void {
    this.#connection.control({ op: 'signal', signal });
  }

  close(): void {
    this.#connection.close();
  }
}
