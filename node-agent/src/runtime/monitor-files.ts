import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Exit, Run } from './runtime.ts';

const started = z.looseObject({ pid: z.number(), startTime: z.string(), startedAtUs: z.number() });
const ended = z.looseObject({
  exitCode: z.number(),
  signal: z.number(),
  oomKilled: z.boolean(),
  startedAtUs: z.number(),
  exitedAtUs: z.number(),
});

/** Parses the line that the monitor prints, and leaves in `started`. */
export function parseRun(text: string): Run | undefined {
  const result = started.safeParse(parseJson(text));
  if (!result.success) return undefined;
  const { pid, startTime, startedAtUs } = result.data;
  return { pid, startTime, startedAtUs };
}

/** Reads an exit record, of the file or of the monitor's event. */
export function exitOf(value: unknown): Exit | undefined {
  const result = ended.safeParse(value);
  if (!result.success) return undefined;
  const { exitCode, signal, oomKilled, startedAtUs, exitedAtUs } = result.data;
  return { exitCode, signal, oomKilled, startedAtUs, exitedAtUs, lost: false };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // cut short or garbled counts as absent
    return undefined;
  }
}

function read(stateDir: string, name: string): string | undefined {
  try {
    return readFileSync(join(stateDir, name), 'utf8');
  } catch {
    // absent
    return undefined;
  }
}

/** What the monitor wrote when the container ran; undefined when it never did. */
export function readRun(stateDir: string): Run | undefined {
  const text = read(stateDir, 'started');
  return text === undefined ? undefined : parseRun(text);
}

/** What the monitor wrote at the end of the run; undefined when it has not. */
export function readExit(stateDir: string): Exit | undefined {
  const text = read(stateDir, 'exit');
  return text === undefined ? undefined : exitOf(parseJson(text));
}

/** The exit of a run whose monitor vanished. */
export function lostExit(run: Run, nowUs: number): Exit {
  return { exitCode: 255, signal: 0, oomKilled: false, startedAtUs: run.startedAtUs, exitedAtUs: nowUs, lost: true };
}

/** The monitor's own pid and start time. */
export function readMonitor(stateDir: string): { pid: number; startTime: string } | undefined {
  const match = /^(\d+)\s+(\d+)/.exec(read(stateDir, 'monitor.pid') ?? '');
  return match ? { pid: Number(match[1]), startTime: match[2]! } : undefined;
}

/** Field 22 of /proc/PID/stat; empty when there is no such process. */
export function startTimeOf(pid: number): string {
  const stat = read(`/proc/${pid}`, 'stat') ?? '';
  // the name in brackets may hold anything
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
