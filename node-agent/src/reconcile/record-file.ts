import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Assignment, ContainerHealth } from '@gantry/proto';
import { z } from 'zod';
import type { ContainerPaths } from '../runtime/runtime.ts';
import type { ContainerRecord, PhaseKind } from './container.ts';

const savedRecord = z.strictObject({
  version: z.literal(1),
  assignment: z.string().nullable(),
  phase: z.enum(['starting', 'waiting', 'fenced', 'complete', 'failed', 'rejected']),
  restarts: z.number(),
  failures: z.number(),
  reason: z.string(),
  lastReason: z.string(),
  lastExitCode: z.number(),
  address: z.string(),
  imageDigest: z.string(),
  health: z.enum(ContainerHealth),
  ready: z.boolean(),
  changedAtUs: z.number(),
  exit: z
    .strictObject({
      exitCode: z.number(),
      signal: z.number(),
      oomKilled: z.boolean(),
      startedAtUs: z.number(),
      exitedAtUs: z.number(),
      lost: z.boolean(),
    })
    .nullable(),
});

/** The phases in which a record is written down; a file that says `starting` may belong to a container that runs. */
type SavedPhase = z.infer<typeof savedRecord>['phase'];
export interface SavedRecord {
  record: ContainerRecord;
  phase: SavedPhase;
}

const savedPhases: Partial<Record<PhaseKind, SavedPhase>> = {
  starting: 'starting',
  waiting: 'waiting',
  fenced: 'fenced',
  complete: 'complete',
  failed: 'failed',
  rejected: 'rejected',
};

function fileOf(paths: ContainerPaths): string {
  return join(paths.bundle, 'record.json');
}

/** Whether a record in this phase is to be on disk. */
export function isSaved(kind: PhaseKind): boolean {
  return savedPhases[kind] !== undefined;
}

/**
 * Writes what a later agent needs to go on with the container. It must survive the agent, not the
 * machine (a machine that restarts starts its containers anew), so nothing is flushed.
 */
export function saveRecord(paths: ContainerPaths, record: ContainerRecord): void {
  const saved: z.infer<typeof savedRecord> = {
    version: 1,
    assignment: record.assignment ? Buffer.from(Assignment.encode(record.assignment)).toString('base64') : null,
    phase: savedPhases[record.phase.kind] ?? 'starting',
    restarts: record.restarts,
    failures: record.failures,
    reason: record.reason,
    lastReason: record.lastReason,
    lastExitCode: record.lastExitCode,
    address: record.address,
    imageDigest: record.imageDigest,
    health: record.health,
    ready: record.ready,
    changedAtUs: record.changedAtUs,
    exit: record.exit ?? null,
  };
  mkdirSync(paths.bundle, { recursive: true, mode: 0o700 });
  const temporary = `${fileOf(paths)}.tmp`;
  writeFileSync(temporary, JSON.stringify(saved), { mode: 0o600 });
  renameSync(temporary, fileOf(paths));
}

/** Reads it back; undefined when there is none or it cannot be read: then the kernel alone is asked. */
export function loadRecord(paths: ContainerPaths): SavedRecord | undefined {
  try {
    const saved = savedRecord.parse(JSON.parse(readFileSync(fileOf(paths), 'utf8')));
    const assignment = saved.assignment === null ? null : Assignment.decode(Buffer.from(saved.assignment, 'base64'));
    const { version: _version, phase, ...rest } = saved;
    const record: ContainerRecord = {
      ...rest,
      id: paths.id,
      assignment,
      exit: saved.exit ?? undefined,
      phase: { kind: 'pending' },
      end: undefined,
      run: undefined,
    };
    return { record, phase };
  } catch {
    // not there, cut short or garbled: what runs is found through its monitor
    return undefined;
  }
}
