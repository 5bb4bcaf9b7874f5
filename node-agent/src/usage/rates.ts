import type { Usage } from '@gantry/proto';
import type { Counters } from './counters.ts';

/** What is in use and would not be taken back at once. */
export function workingSet(counters: Counters): number {
  return Math.max(0, counters.memoryUsageBytes - counters.memoryInactiveFileBytes);
}

/**
 * Bytes written: what the group counted, or, where that is blind to buffered writes, what its main process dirtied
 * if that is more.
 */
function writtenBytes(counters: Counters): number {
  return Math.max(counters.ioWriteBytes, counters.dirtiedBytes);
}

export interface RateInput {
  /** Microseconds since the epoch, of the record. */
  atUs: number;
  /** Between the two readings, by a clock that never goes back; 0 gives no rates. */
  elapsedUs: number;
  before: Counters;
  now: Counters;
  /** Totals of earlier runs of the same container. */
  base: Counters;
  memoryPeakBytes: number;
}

/** A record of usage from two readings; counters that went back count as standing still. */
export function usageBetween({ atUs, elapsedUs, before, now, base, memoryPeakBytes }: RateInput): Usage {
  const rate = (delta: number) => (elapsedUs > 0 ? Math.round((Math.max(0, delta) * 1e6) / elapsedUs) : 0);
  const periods = now.periods - before.periods;
  const throttled = now.throttledPeriods - before.throttledPeriods;
  return {
    at: atUs,
    cpuMillis: rate((now.cpuUs - before.cpuUs) / 1000),
    memoryBytes: workingSet(now),
    ioReadBytesPerSecond: rate(now.ioReadBytes - before.ioReadBytes),
    ioWriteBytesPerSecond: rate(writtenBytes(now) - writtenBytes(before)),
    ioReadOperationsPerSecond: rate(now.ioReadOperations - before.ioReadOperations),
    ioWriteOperationsPerSecond: rate(now.ioWriteOperations - before.ioWriteOperations),
    networkReceiveBytesPerSecond: rate(now.receiveBytes - before.receiveBytes),
    networkTransmitBytesPerSecond: rate(now.transmitBytes - before.transmitBytes),
    pids: now.pids,
    throttledPermille: periods > 0 && throttled > 0 ? Math.min(1000, Math.round((throttled * 1000) / periods)) : 0,
    cpuPressurePermille: now.cpuPressurePermille,
    memoryPressurePermille: now.memoryPressurePermille,
    ioPressurePermille: now.ioPressurePermille,
    memoryPeakBytes,
    cpuTotalUs: base.cpuUs + now.cpuUs,
    ioReadTotalBytes: base.ioReadBytes + now.ioReadBytes,
    ioWriteTotalBytes: base.ioWriteBytes + writtenBytes(now),
    networkReceiveTotalBytes: base.receiveBytes + now.receiveBytes,
    networkTransmitTotalBytes: base.transmitBytes + now.transmitBytes,
    networkDropsTotal: base.drops + now.drops,
    ioReadTotalOperations: base.ioReadOperations + now.ioReadOperations,
    ioWriteTotalOperations: base.ioWriteOperations + now.ioWriteOperations,
    networkReceiveTotalPackets: base.receivePackets + now.receivePackets,
    networkTransmitTotalPackets: base.transmitPackets + now.transmitPackets,
  };
}

const totals = [
  'cpuUs',
  'ioReadBytes',
  'ioReadOperations',
  'ioWriteOperations',
  'receiveBytes',
  'transmitBytes',
  'receivePackets',
  'transmitPackets',
  'drops',
] as const;

/** Adds the totals of a run that has ended to those before it. */
export function addTotals(base: Counters, ended: Counters): void {
  for (const field of totals) base[field] += ended[field];
  base.ioWriteBytes += writtenBytes(ended);
}
