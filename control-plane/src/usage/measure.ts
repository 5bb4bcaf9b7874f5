import { Usage } from '@gantry/proto';

type Field = keyof Usage;

/** How each figure is brought together over time and over containers. */
interface Rule {
  readonly overTime: 'mean' | 'max' | 'last';
  readonly overContainers: 'sum' | 'max';
}

const rate: Rule = { overTime: 'mean', overContainers: 'sum' };
const share: Rule = { overTime: 'mean', overContainers: 'max' };
const total: Rule = { overTime: 'last', overContainers: 'sum' };

const rules: Readonly<Record<Exclude<Field, 'at'>, Rule>> = {
  cpuMillis: rate,
  memoryBytes: rate,
  ioReadBytesPerSecond: rate,
  ioWriteBytesPerSecond: rate,
  ioReadOperationsPerSecond: rate,
  ioWriteOperationsPerSecond: rate,
  networkReceiveBytesPerSecond: rate,
  networkTransmitBytesPerSecond: rate,
  pids: rate,
  throttledPermille: share,
  cpuPressurePermille: share,
  memoryPressurePermille: share,
  ioPressurePermille: share,
  memoryPeakBytes: { overTime: 'max', overContainers: 'sum' },
  cpuTotalUs: total,
  ioReadTotalBytes: total,
  ioWriteTotalBytes: total,
  networkReceiveTotalBytes: total,
  networkTransmitTotalBytes: total,
  networkDropsTotal: total,
  ioReadTotalOperations: total,
  ioWriteTotalOperations: total,
  networkReceiveTotalPackets: total,
  networkTransmitTotalPackets: total,
};
const fields = Object.keys(rules) as Exclude<Field, 'at'>[];

/** Measurements of one subject at different times as one, at `at`. */
export function overTime(usages: readonly Usage[], at: number): Usage {
  const result = Usage.create({ at });
  if (usages.length === 0) return result;
  for (const field of fields) {
    const values = usages.map((usage) => usage[field]);
    const rule = rules[field].overTime;
    if (rule === 'last') result[field] = values.at(-1)!;
    else if (rule === 'max') result[field] = Math.max(...values);
    else result[field] = Math.round(values.reduce((sum, value) => sum + value, 0) / values.length);
  }
  return result;
}

/** Measurements of several containers at one time as one, at `at`. */
export function overContainers(usages: readonly Usage[], at: number): Usage {
  const result = Usage.create({ at });
  for (const usage of usages) {
    for (const field of fields) {
      result[field] = rules[field].overContainers === 'sum' ? result[field] + usage[field] : Math.max(result[field], usage[field]);
    }
  }
  return result;
}

/** Points brought to a coarser step, each at the start of its step; what is finer than wanted is never made up. */
export function downsample(points: readonly Usage[], stepUs: number): Usage[] {
  const steps = new Map<number, Usage[]>();
  for (const point of points) {
    const at = Math.floor(point.at / stepUs) * stepUs;
    steps.set(at, [...(steps.get(at) ?? []), point]);
  }
  return [...steps].sort(([a], [b]) => a - b).map(([at, usages]) => overTime(usages, at));
}
