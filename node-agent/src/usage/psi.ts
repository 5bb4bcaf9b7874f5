import { join } from 'node:path';
import type { Counters, Gauge } from './counters.ts';
import { keyOf, numberAt, startsWith } from './scan.ts';

const some = keyOf('some avg10=');
const dot = 0x2e;

/** "some avg10=1.23 …" as thousandths of the time; -1 for anything else. */
export function parsePressure(buffer: Uint8Array, length: number): number {
  if (!startsWith(buffer, 0, length, some)) return -1;
  const percent = numberAt(buffer, some.length, length);
  if (percent < 0) return -1;
  let at = some.length + String(percent).length;
  // The kernel prints two digits after the point: the first one is what thousandths need.
  if (buffer[at] === dot) at++;
  return percent * 10 + Math.max(0, Math.min(9, (buffer[at] ?? 0x30) - 0x30));
}

type PressureField = 'cpuPressurePermille' | 'memoryPressurePermille' | 'ioPressurePermille';

function pressure(field: PressureField): Gauge['parse'] {
  return (buffer: Buffer, length: number, into: Counters) => {
    const value = parsePressure(buffer, length);
    if (value >= 0) into[field] = value;
  };
}

const parseCpu = pressure('cpuPressurePermille');
const parseMemory = pressure('memoryPressurePermille');
const parseIo = pressure('ioPressurePermille');

/** Pressure of a group of the v2 tree, which has it even where all controllers are on v1. An average over 10 s need not be read each second. */
export function pressureGauges(unifiedRoot: string, cgroupPath: string): Gauge[] {
  const folder = join(unifiedRoot, cgroupPath);
  return [
    { path: join(folder, 'cpu.pressure'), every: 5, parse: parseCpu },
    { path: join(folder, 'memory.pressure'), every: 5, parse: parseMemory },
    { path: join(folder, 'io.pressure'), every: 5, parse: parseIo },
  ];
}
