import { Code, GantryError } from '@gantry/common';
import { type Probe, ProbeType } from '@gantry/proto';

/** Largest values that a spec may hold (see docs/ARCHITECTURE.md). */
export const limits = {
  services: 200,
  replicas: 10_000,
  labels: 64,
  labelBytes: 256,
  environmentEntries: 256,
  environmentBytes: 128 * 1024,
  fileBytes: 512 * 1024 - 4096,
  ports: 64,
  mounts: 64,
  files: 100,
  volumes: 100,
  words: 1000,
  listItems: 64,
  affinities: 16,
  /** Encoded spec of one service: the record of each of its containers carries it. */
  serviceBytes: 256 * 1024,
} as const;

/** Refuses with the field's path. */
export function refuse(path: string, must: string, found?: unknown): never {
  const shown = found === undefined ? '' : `, found ${JSON.stringify(found)?.slice(0, 80)}`;
  throw new GantryError(Code.invalidArgument, `cannot accept "${path}": must be ${must}${shown}`, { details: { subject: path } });
}

export function requireWhole(path: string, value: number, most: number, least = 0): void {
  if (!Number.isSafeInteger(value) || value < least || value > most) refuse(path, `a whole number from ${least} to ${most}`, value);
}

/** Refuses text that no kernel interface could take. */
export function requireText(path: string, value: string, mostBytes = 4096): void {
  if (value.includes('\0')) refuse(path, 'without NUL bytes');
  if (Buffer.byteLength(value) > mostBytes) refuse(path, `at most ${mostBytes} bytes`, `${Buffer.byteLength(value)} bytes`);
}

export function requireMap(path: string, map: Readonly<Record<string, string>>, entries: number, bytes: number): void {
  const keys = Object.keys(map);
  if (keys.length > entries) refuse(path, `at most ${entries} entries`, keys.length);
  let size = 0;
  for (const key of keys) {
    if (key === '' || key === '__proto__' || key === 'constructor' || key.includes('=')) refuse(`${path}.${key}`, 'named by a plain word');
    requireText(`${path}.${key}`, key + map[key]!, bytes);
    size += Buffer.byteLength(key) + Buffer.byteLength(map[key]!) + 2;
  }
  if (size > bytes * (bytes === limits.labelBytes ? entries : 1)) refuse(path, `at most ${bytes} bytes`, size);
}

/** Checks a probe; unset is allowed. */
export function validateProbe(path: string, probe: Probe | null): void {
  if (!probe || probe.type === ProbeType.none) return;
  requireWhole(`${path}.type`, probe.type, ProbeType.tcp);
  if (probe.type === ProbeType.exec && probe.command.length === 0) refuse(`${path}.command`, 'a command');
  if (probe.type !== ProbeType.exec) requireWhole(`${path}.port`, probe.port, 65_535, 1);
  for (const key of ['intervalUs', 'timeoutUs', 'startPeriodUs'] as const) requireWhole(`${path}.${key}`, probe[key], 8.64e10);
  requireWhole(`${path}.retries`, probe.retries, 1000);
}

const maxDepth = 12;
/** Fields that may be negative, and those that may have fractions. */
const signed = new Set(['priority']);
const fractional = new Set(['maxFailureRatio']);

/**
 * What holds for every field of every message: whole numbers that are exact and not negative, text that is valid Unicode
 * without NUL, no map key that means something to the language.
 */
export function requirePlain(path: string, value: unknown, field = '', depth = 0): void {
  if (depth > maxDepth) refuse(path, `nested at most ${maxDepth} deep`);
  if (typeof value === 'string') {
    if (value.includes('\0')) refuse(path, 'without NUL bytes');
    if (!value.isWellFormed()) refuse(path, 'valid Unicode', value);
  } else if (typeof value === 'number') {
    if (fractional.has(field)) return;
    if (!Number.isSafeInteger(value)) refuse(path, 'a whole number below 2^53', String(value));
    if (value < 0 && !signed.has(field)) refuse(path, 'a whole number, not negative', value);
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) requirePlain(`${path}[${index}]`, item, field, depth + 1);
  } else if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array)) {
    for (const [key, item] of Object.entries(value)) {
      if (key === '__proto__') refuse(path, 'named by a plain word', key);
      requirePlain(path, key, field, depth + 1);
      requirePlain(path === '' ? key : `${path}.${key.slice(0, 60)}`, item, key, depth + 1);
    }
  }
}

export function requireCount(path: string, items: readonly unknown[], most: number): void {
  if (items.length > most) refuse(path, `at most ${most} items`, items.length);
}

/** The idempotency key of a mutating call; an empty one makes the call not repeatable. */
export function requireRequestId(requestId: string): void {
  if (!/^[-_.:a-zA-Z0-9]{0,64}$/.test(requestId)) refuse('requestId', 'at most 64 letters, digits, "-", "_", "." and ":"', requestId);
}
