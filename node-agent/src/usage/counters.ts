/** What the kernel counts for one container (or one node) since its groups were made; times in microseconds. */
export interface Counters {
  cpuUs: number;
  /** CPU periods that passed and that were cut short by the limit. */
  periods: number;
  throttledPeriods: number;
  /** In use now, reclaimable file cache included. */
  memoryUsageBytes: number;
  /** Part of it that the kernel would take back first. */
  memoryInactiveFileBytes: number;
  ioReadBytes: number;
  ioWriteBytes: number;
  ioReadOperations: number;
  ioWriteOperations: number;
  /** What the main process and its reaped children made dirty; 0 where the group itself sees writeback. */
  dirtiedBytes: number;
  pids: number;
  /** PSI "some avg10" in thousandths of the time. */
  cpuPressurePermille: number;
  memoryPressurePermille: number;
  ioPressurePermille: number;
  receiveBytes: number;
  transmitBytes: number;
  receivePackets: number;
  transmitPackets: number;
  drops: number;
}

/** All zero. */
export function zeroCounters(): Counters {
  return {
    cpuUs: 0,
    periods: 0,
    throttledPeriods: 0,
    memoryUsageBytes: 0,
    memoryInactiveFileBytes: 0,
    ioReadBytes: 0,
    ioWriteBytes: 0,
    ioReadOperations: 0,
    ioWriteOperations: 0,
    dirtiedBytes: 0,
    pids: 0,
    cpuPressurePermille: 0,
    memoryPressurePermille: 0,
    ioPressurePermille: 0,
    receiveBytes: 0,
    transmitBytes: 0,
    receivePackets: 0,
    transmitPackets: 0,
    drops: 0,
  };
}

/** One file of the kernel and what its text means. */
export interface Gauge {
  path: string;
  /** Read at each n-th sample; 1 is always. For what is dear to read and slow to change. */
  every: number;
  /** Takes `length` bytes of `buffer` into the counters; garbage leaves them as they are. */
  parse: (buffer: Buffer, length: number, into: Counters) => void;
}
