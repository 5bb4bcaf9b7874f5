import { Code, GantryError, type Logger } from '@gantry/common';
import { type Command, ContainerState, type ContainerStatus, Inventory, NodeImage } from '@gantry/proto';
import { runExec } from '../exec/exec-stream.ts';
import type { ImageStore } from '../image/images.ts';
import { sendLogs } from '../logs/log-stream.ts';
import type { ExecRequest, ExecSession } from '../runtime/runtime.ts';
import type { CommandContext } from './ports.ts';
import { runPull } from './pull-stream.ts';

/** Streams open at the same time; more are refused. */
const streamLimit = 256;

export interface CommandPorts {
  node: string;
  log: Logger;
  images: Pick<ImageStore, 'ensure' | 'list'>;
  /** Folder of a container's log. */
  logFolder: (id: string) => string | undefined;
  /** Newest status of a container on this node. */
  status: (id: string) => ContainerStatus | undefined;
  exec: (id: string, request: ExecRequest) => Promise<ExecSession>;
}

/** Does what the control plane asks for in a session; each stream ends with the session that asked. */
export class Commands {
  readonly #ports: CommandPorts;
  #streams = 0;

  constructor(ports: CommandPorts) {
    this.#ports = ports;
  }

  run(command: Command, context: CommandContext): void {
    const { inventory, reportNow } = command;
    if (inventory) context.inventory(this.#inventory(inventory.request));
    if (reportNow) context.reportNow();
    const work = this.#stream(command, context);
    if (work) this.#background(command.stream, work);
  }

  #inventory(request: number): Inventory {
    const { images, node } = this.#ports;
    const list = images.list().flatMap(({ references, digest, sizeBytes, pulledAtUs }) => {
      const names = references.length > 0 ? references : [''];
      return names.map((reference) => NodeImage.create({ node, reference, digest, sizeBytes, pulledAt: pulledAtUs }));
    });
    return Inventory.create({ images: list, request });
  }

  #stream({ stream, logs, exec, pull }: Command, { connection, signal }: CommandContext): (() => Promise<void>) | undefined {
    const { images, node, logFolder, status } = this.#ports;
    if (logs) {
      const id = logs.containerId;
      const ended = () => status(id)?.final ?? true;
      return () => sendLogs({ stream, command: logs, connection, signal, folder: () => logFolder(id), ended });
    }
    if (exec) {
      return () => runExec({ stream, command: exec, connection, signal, open: (request) => this.#exec(exec.containerId, request) });
    }
    if (pull) return () => runPull({ stream, node, reference: pull.reference, connection, signal, images });
    return undefined;
  }

  async #exec(id: string, request: ExecRequest): Promise<ExecSession> {
    const found = this.#ports.status(id);
    if (found?.state === ContainerState.running) return await this.#ports.exec(id, request);
    const state = Object.entries(ContainerState).find(([, value]) => value === found?.state)?.[0] ?? 'no such container on this node';
    throw new GantryError(Code.failedPrecondition, `cannot exec in container "${id}": it must be running, found ${state}`);
  }

  #background(stream: string, work: () => Promise<void>): void {
    const { log } = this.#ports;
    if (this.#streams >= streamLimit) {
      log.warn({ stream, limit: streamLimit }, 'a stream was refused: too many are open');
      return;
    }
    this.#streams++;
    work()
      .catch((error: unknown) => log.debug({ stream, reason: GantryError.from(error).message }, 'a stream broke off'))
      .finally(() => {
        this.#streams--;
      });
  }
}
