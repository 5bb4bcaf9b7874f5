import { readdir, rm } from 'node:fs/promises';
import { GantryError } from '@gantry/common';
import type { Assignment } from '@gantry/proto';
import { containerFolders, containerPaths } from '../runtime/paths.ts';
import type { Found } from '../runtime/runtime.ts';
import { type ContainerRecord, type Moment, newRecord, transition } from './container.ts';
import type { Ledger } from './ledger.ts';
import type { ReconcilePorts } from './ports.ts';
import { loadRecord, type SavedRecord } from './record-file.ts';
import { afterExit, restartDelayMs } from './restart.ts';
import { rateLimitOf } from './start.ts';
import type { Watcher } from './watch.ts';

interface RestoreInput {
  id: string;
  /** What the earlier agent wrote down; it is gone after a reboot. */
  saved: SavedRecord | undefined;
  found: Found;
  /** By which it is to run, as far as the disk tells. */
  assignment: Assignment | null;
  now: Moment;
}

/**
 * The record of a container that an earlier agent left, by what it wrote down and what the runtime
 * found. Pure. An end that happened in between is counted as if it had been seen.
 */
function restoredRecord({ id, saved, found, assignment, now }: RestoreInput): ContainerRecord | undefined {
  const base = saved?.record ?? newRecord(id, assignment, now.us);
  if (found.kind === 'running') {
    const { run } = found.running;
    return { ...base, phase: { kind: 'running', run }, run, exit: undefined, reason: '' };
  }
  if (saved && saved.phase !== 'starting') return settled(saved, now);
  if (found.kind === 'nothing') return saved ? base : undefined;
  const { exit } = found;
  const run = { pid: 0, startTime: '', startedAtUs: exit.startedAtUs };
  const decision = afterExit({ spec: base.assignment?.spec ?? null, exit, failures: base.failures, cause: '' });
  return transition({ ...base, phase: { kind: 'running', run }, run }, { kind: 'exited', exit, decision }, now);
}

function settled({ record, phase }: SavedRecord, now: Moment): ContainerRecord {
  switch (phase) {
    case 'starting':
      return record;
    case 'waiting':
      return {
        ...record,
        phase: { kind: 'waiting', dueMs: now.ms + restartDelayMs(record.assignment?.spec?.restart ?? null, record.failures) },
      };
    case 'fenced':
      return { ...record, phase: { kind: 'fenced' } };
    case 'complete':
    case 'failed':
    case 'rejected':
      return { ...record, phase: { kind: phase }, end: phase };
  }
}

export interface AdoptInput {
  ports: ReconcilePorts;
  ledger: Ledger;
  watcher: Watcher;
  /** What the disk says of a container's assignment. */
  assignmentOf: (id: string) => Assignment | undefined;
}

/** Finds again all containers of this node. None is stopped or started here. */
export async function adoptAll(input: AdoptInput): Promise<void> {
  const { data, run } = containerFolders(input.ports.facts);
  // a node that never ran anything has none of them
  const ids = await Promise.all([data, run].map((folder) => readdir(folder).catch(() => [])));
  await Promise.all([...new Set(ids.flat())].map((id) => adopt(id, input)));
}

async function adopt(id: string, { ports, ledger, watcher, assignmentOf }: AdoptInput): Promise<void> {
  const { runtime, clock, network, facts, log } = ports;
  const paths = containerPaths(facts, id);
  try {
    const found = await runtime.find(paths);
    const record = restoredRecord({
      id,
      found,
      saved: loadRecord(paths),
      assignment: assignmentOf(id) ?? null,
      now: { ms: clock.monotonicMs(), us: clock.nowUs() },
    });
    if (!record) {
      for (const path of [paths.data, paths.bundle]) await rm(path, { recursive: true, force: true });
      return;
    }
    ledger.restore(record);
    if (found.kind !== 'running') return;
    const { assignment, address } = record;
    const key = { namespace: assignment?.key?.namespace ?? '', app: assignment?.key?.app ?? '' };
    const limit = assignment ? rateLimitOf(assignment) : undefined;
    const { hostInterface } = network.adopt({ containerId: id, address, ...key, ...(limit ? { limit } : {}) });
    const { health, ready } = record;
    const condition = watcher.follow(id, found.running, { hostInterface, found: { health, ready, reason: '' } });
    ledger.apply(id, { kind: 'health', ...condition });
    log.info({ id, pid: found.running.run.pid }, 'found a running container');
  } catch (error) {
    log.error({ id, reason: GantryError.from(error).message }, 'cannot find out about a container');
  }
}
