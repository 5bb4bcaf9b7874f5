import { Code, GantryError } from '@gantry/common';
import { keys } from '../store/keys.ts';
import { type Comparison, maxTransactionWrites, type Store, type Write } from '../store/store.ts';

/** Writes that belong together, with what they were planned on. */
export interface Unit {
  readonly service: string;
  readonly writes: readonly Write[];
  readonly compare: readonly Comparison[];
  /** Containers that this unit places. */
  readonly places: readonly string[];
}

export interface CommitOutcome {
  /** Store revision that shows everything that was written; 0 when nothing was. */
  readonly revision: number;
  /** Units that were refused, since something they were planned on has changed. */
  readonly refused: readonly Unit[];
  /** Units of which it is not known whether they were written. */
  readonly unknown: readonly Unit[];
  /** Why. */
  readonly error: GantryError | undefined;
}

/** Bytes a transaction may carry, under etcd's 1.5 MiB. */
const maxBytes = 1_000_000;
const chunksAtOnce = 8;

interface Chunk {
  readonly units: Unit[];
  readonly writes: Map<string, Write>;
  readonly compare: Map<string, Comparison>;
  bytes: number;
}

/**
 * Writes units in as few transactions as hold them. Every one compares the leader's fence, and a guard that changes after each commit
 * with an unknown outcome: a transaction that is still on its way then cannot land any more once `settle` has returned, so that what
 * was planned after it is planned on the truth.
 */
export class Committer {
  readonly #store: Store;
  readonly #fence: Comparison;
  #guard: number | undefined;

  constructor(store: Store, fence: Comparison) {
    this.#store = store;
    this.#fence = fence;
  }

  /** @throws nothing: what failed is in the outcome. */
  async commit(units: readonly Unit[]): Promise<CommitOutcome> {
    const chunks = pack(units);
    const outcome = { revision: 0, refused: [] as Unit[], unknown: [] as Unit[], error: undefined as GantryError | undefined };
    try {
      this.#guard ??= (await this.#store.get(keys.planner()))?.modRevision ?? 0;
    } catch (thrown) {
      return { ...outcome, refused: units, error: GantryError.from(thrown) };
    }
    for (let start = 0; start < chunks.length; start += chunksAtOnce) {
      await Promise.all(chunks.slice(start, start + chunksAtOnce).map((chunk) => this.#write(chunk, outcome)));
      if (outcome.error) {
        for (const chunk of chunks.slice(start + chunksAtOnce)) outcome.refused.push(...chunk.units);
        break;
      }
    }
    return outcome;
  }

  /**
   * After an unknown outcome: makes sure that nothing of it can still be written, and returns the revision that shows what was.
   * @throws GantryError aborted when another leads, or what the store throws.
   */
  async settle(): Promise<number> {
    const held = await this.#store.get(keys.planner());
    const guard: Comparison = { kind: 'modRevision', key: keys.planner(), equals: held?.modRevision ?? 0 };
    const result = await this.#store.transact({
      compare: [this.#fence, guard],
      writes: [{ kind: 'put', key: keys.planner(), value: new Uint8Array(0) }],
    });
    if (!result.succeeded) throw new GantryError(Code.aborted, 'cannot settle the plan: this process must lead, found that it does not');
    this.#guard = result.revision;
    return result.revision;
  }

  async #write(
    chunk: Chunk,
    outcome: { revision: number; refused: Unit[]; unknown: Unit[]; error: GantryError | undefined },
  ): Promise<void> {
    const guard: Comparison = { kind: 'modRevision', key: keys.planner(), equals: this.#guard! };
    try {
      const result = await this.#store.transact({
        compare: [this.#fence, guard, ...chunk.compare.values()],
        writes: [...chunk.writes.values()],
      });
      outcome.revision = Math.max(outcome.revision, result.revision);
      if (!result.succeeded) outcome.refused.push(...chunk.units);
    } catch (thrown) {
      outcome.error = GantryError.from(thrown);
      outcome.unknown.push(...chunk.units);
    }
  }
}

/** Packs units into transactions: within etcd's limits, no key twice in one. */
export function pack(units: readonly Unit[]): Chunk[] {
  const chunks: Chunk[] = [];
  let open: Chunk | undefined;
  for (const unit of units) {
    const bytes = unit.writes.reduce((sum, write) => sum + write.key.length + (write.kind === 'put' ? write.value.length : 0), 0);
    if (!open || !fits(open, unit, bytes)) {
      open = { units: [], writes: new Map(), compare: new Map(), bytes: 0 };
      chunks.push(open);
    }
    open.units.push(unit);
    open.bytes += bytes;
    for (const write of unit.writes) open.writes.set(write.key, write);
    for (const compare of unit.compare) open.compare.set(`${compare.kind} ${compare.key}`, compare);
  }
  return chunks;
}

function fits(chunk: Chunk, unit: Unit, bytes: number): boolean {
  const writes = unit.writes.filter(({ key }) => !chunk.writes.has(key)).length;
  // Two comparisons are the fence and the guard.
  const compares = unit.compare.filter(({ kind, key }) => !chunk.compare.has(`${kind} ${key}`)).length + 2;
  return (
    chunk.bytes + bytes <= maxBytes &&
    chunk.writes.size + writes <= maxTransactionWrites &&
    chunk.compare.size + compares <= maxTransactionWrites
  );
}
