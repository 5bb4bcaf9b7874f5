import { formatBytes, formatCpu, formatRate } from '@gantry/common';
import type { Resources } from '@gantry/proto';

/** What a node has and a container takes, in the order of every amounts array. The first four are scored, all are bounded. */
export const dimensions = ['cpu', 'memory', 'io', 'network', 'pids', 'disk'] as const;
export type Dimension = (typeof dimensions)[number];

/** How many of the dimensions, from the front, take part in the score. */
export const scoredDimensions = 4;

/** One amount a dimension: millis, bytes, bytes a second, bytes a second, processes, bytes. */
export type Amounts = Float64Array;

/** Reserved where a manifest says nothing. */
export const defaultReservation: Resources = { cpuMillis: 100, memoryBytes: 64 * 2 ** 20, ioBytesPerSecond: 0, networkBytesPerSecond: 0 };

/**
 * Processes that a container is guaranteed. Its limit may be higher: a limit bounds harm, and few containers come near it,
 * so that the sum of limits would leave nodes empty.
 */
export const guaranteedPids = 32;

/** The amounts of a reservation, with what the limits guarantee beside it. */
export function amountsOf(resources: Resources, more: { pids?: number; diskBytes?: number } = {}): Amounts {
  return Float64Array.of(
    resources.cpuMillis,
    resources.memoryBytes,
    resources.ioBytesPerSecond,
    resources.networkBytesPerSecond,
    more.pids ?? 0,
    more.diskBytes ?? 0,
  );
}

/** The four dimensions of an amounts array as the wire has them. */
export function resourcesOf(amounts: Amounts): Resources {
  return { cpuMillis: amounts[0]!, memoryBytes: amounts[1]!, ioBytesPerSecond: amounts[2]!, networkBytesPerSecond: amounts[3]! };
}

/** "500m", "512Mi", "20MB/s", "7". */
export function formatAmount(dimension: Dimension, amount: number): string {
  switch (dimension) {
    case 'cpu':
      return formatCpu(amount);
    case 'memory':
    case 'disk':
      return formatBytes(amount);
    case 'io':
    case 'network':
      return formatRate(amount);
    case 'pids':
      return String(amount);
  }
}
