import { Code, GantryError } from '@gantry/common';
import { type Probe, ProbeType } from '@gantry/proto';

/** Largest values that a spec may hold (see docs/ARCHITECTURE.md). */
export const limits = {
  services: 500,
  replicas: 10_000,
  labels: 64,
  labelBytes: 256,
  environmentEntries: 256,
  environmentBytes: 128 * 1024,
  fileBytes: 512 * 1024 - 4096,
  ports: 64,
  mounts: 64,
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
