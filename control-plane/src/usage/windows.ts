import { Code, GantryError } from '@gantry/common';
import type { Usage } from '@gantry/proto';
import { downsample, overContainers } from './measure.ts';

/** Time between two points of a window. */
export const pointUs = 10_000_000;
/** How far back a window reaches. */
export const windowUs = 3_600_000_000;

/** One point of a subject: "container/<id>", "service/<ns>/<app>/<service>" or "node/<name>". */
export interface Point {
  readonly subject: string;
  readonly usage: Usage;
}

/** Usage kept over time. Losing it loses history and nothing else. */
export interface UsageWindows {
  /** Keeps points; never waits. When they cannot be kept for long, the oldest go. */
  add(points: readonly Point[]): void;
  /**
   * Points of a subject since a time, oldest first; what several gateways know of it is added up.
   * @throws GantryError unavailable when there is no history to ask.
   */
  read(subject: string, sinceUs: number): Promise<Usage[]>;
}

/** Windows in memory: a complete fake, and what a control plane without Redis has (of its own gateway's nodes). */
export class MemoryWindows implements UsageWindows {
  readonly #points = new Map<string, Usage[]>();
  readonly #subjects: number;
  readonly #length: number;

  /** @param subjects most subjects. @param length most points of each. */
  constructor(subjects = 1000, length = 360) {
    this.#subjects = subjects;
    this.#length = length;
  }

  add(points: readonly Point[]): void {
    for (const { subject, usage } of points) {
      const kept = this.#points.get(subject) ?? [];
      kept.push(usage);
      if (kept.length > this.#length) kept.shift();
      this.#points.delete(subject);
      this.#points.set(subject, kept);
      if (this.#points.size > this.#subjects) this.#points.delete(this.#points.keys().next().value!);
    }
  }

  async read(subject: string, sinceUs: number): Promise<Usage[]> {
    return (this.#points.get(subject) ?? []).filter((usage) => usage.at >= sinceUs);
  }
}

/** Points of the same time, of one subject and several gateways, added up; oldest first. */
export function mergePoints(points: readonly Usage[]): Usage[] {
  const byTime = new Map<number, Usage[]>();
  for (const point of points) byTime.set(point.at, [...(byTime.get(point.at) ?? []), point]);
  return [...byTime].sort(([a], [b]) => a - b).map(([at, usages]) => (usages.length === 1 ? usages[0]! : overContainers(usages, at)));
}

export interface HistoryRequest {
  /** "container/<id>", "service/<ns>/<app>/<service>" or "node/<name>". */
  subject: string;
  /** Microseconds since the epoch; 0: as far back as there is. */
  sinceUs: number;
  /** Microseconds; 0: as fine as there is. */
  stepUs: number;
}

/** Usage over time, as fine as the step asks for. @throws GantryError unavailable without history. */
export async function readHistory(windows: UsageWindows, { subject, sinceUs, stepUs }: HistoryRequest): Promise<Usage[]> {
  if (stepUs < 0 || sinceUs < 0)
    throw new GantryError(Code.invalidArgument, `cannot read history of "${subject}": since and step must not be negative`);
  const points = await windows.read(subject, sinceUs);
  return stepUs > pointUs ? downsample(points, stepUs) : points;
}
