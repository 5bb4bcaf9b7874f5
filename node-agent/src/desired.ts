import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GantryError, type Logger, writeFileAtomic } from '@gantry/common';
import { type Assignment, Assignments } from '@gantry/proto';

/** "GANTRYA1", then the SHA-256 of the rest, then a snapshot as protobuf. */
const magic = Buffer.from('GANTRYA1');
const digestBytes = 32;
const retryMs = 1000;

export interface DesiredOptions {
  dataDir: string;
  log: Logger;
  /** Told when a revision is safe on disk. */
  onDurable: (revision: number) => void;
}

/** The last accepted assignments: in memory for the reconciler, on disk for the agent's next life. */
export class DesiredStore {
  readonly #path: string;
  readonly #log: Logger;
  readonly #onDurable: (revision: number) => void;
  #assignments: ReadonlyMap<string, Assignment> = new Map();
  #revision = 0;
  #durable = 0;
  #whole = false;
  #writing: Promise<void> | undefined;
  #dirty = false;

  constructor({ dataDir, log, onDurable }: DesiredOptions) {
    this.#path = join(dataDir, 'assignments');
    this.#log = log;
    this.#onDurable = onDurable;
  }

  /** By container id. */
  get assignments(): ReadonlyMap<string, Assignment> {
    return this.#assignments;
  }

  /** Whether the control plane has told everything since this process started. */
  get whole(): boolean {
    return this.#whole;
  }

  /** Newest revision on disk. */
  get durableRevision(): number {
    return this.#durable;
  }

  /** Reads the copy on disk. A file that is cut short or garbled counts as none: the control plane sends everything anew. */
  async load(): Promise<void> {
    let bytes: Buffer;
    try {
      bytes = await readFile(this.#path);
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      if (!missing) this.#log.error({ err: error }, 'cannot read the assignments on disk');
      return;
    }
    const snapshot = decodeSnapshot(bytes);
    if (!snapshot) {
      this.#log.error(
        { path: this.#path },
        'the assignments on disk are damaged: what runs goes on until the control plane sends them anew',
      );
      return;
    }
    this.#assignments = new Map(snapshot.upserts.map((assignment) => [assignment.id, assignment]));
    this.#revision = snapshot.revision;
    this.#durable = snapshot.revision;
  }

  /** Takes over a snapshot or changes; `onDurable` tells when they are on disk. */
  accept(message: Assignments): void {
    const assignments = new Map(message.snapshot ? [] : this.#assignments);
    for (const id of message.removals) assignments.delete(id);
    for (const assignment of message.upserts) assignments.set(assignment.id, assignment);
    this.#assignments = assignments;
    this.#revision = message.revision;
    if (message.snapshot) this.#whole = true;
    this.#dirty = true;
    this.#writing ??= this.#write();
  }

  /** Waits until everything accepted is on disk. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  /** One write at a time; what is accepted meanwhile goes with the next one. */
  async #write(): Promise<void> {
    while (this.#dirty) {
      this.#dirty = false;
      const revision = this.#revision;
      try {
        await writeFileAtomic(this.#path, encodeSnapshot(revision, [...this.#assignments.values()]));
      } catch (error) {
        // not acknowledged, so the control plane knows; the containers run all the same
        this.#log.error({ reason: GantryError.from(error).message }, 'cannot write down the assignments');
        this.#dirty = true;
        await new Promise((resolve) => setTimeout(resolve, retryMs).unref());
        continue;
      }
      this.#durable = revision;
      this.#onDurable(revision);
    }
    // in the same turn as the last look at #dirty: what is accepted from now on begins a write of its own
    this.#writing = undefined;
  }
}

/** The file's content for these assignments. */
function encodeSnapshot(revision: number, upserts: Assignment[]): Buffer {
  const body = Assignments.encode(Assignments.create({ revision, snapshot: true, upserts }));
  return Buffer.concat([magic, createHash('sha256').update(body).digest(), body]);
}

/** Reads it back; undefined when it is not exactly what was written. */
export function decodeSnapshot(bytes: Buffer): Assignments | undefined {
  const body = bytes.subarray(magic.length + digestBytes);
  if (!bytes.subarray(0, magic.length).equals(magic)) return undefined;
  const digest = createHash('sha256').update(body).digest();
  if (!bytes.subarray(magic.length, magic.length + digestBytes).equals(digest)) return undefined;
  try {
    return Assignments.decode(body);
  } catch {
    // a digest that fits content which does not: written by something else
    return undefined;
  }
}
