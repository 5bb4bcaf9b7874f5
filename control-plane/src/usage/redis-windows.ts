import { Code, GantryError } from '@gantry/common';
import { Usage } from '@gantry/proto';
import type { RedisLink } from './redis-link.ts';
import { mergePoints, type Point, pointUs, type UsageWindows, windowUs } from './windows.ts';

const slots = windowUs / pointUs;
/** A window that gets no points any more goes after this. */
const keepSeconds = (2 * windowUs) / 1e6;
/** Points that wait while Redis is away: an hour of some 50 subjects. */
const mostWaiting = 20_000;
const batch = 500;

/**
 * Windows as Redis hashes: one a subject, one field a place in the hour and gateway, so that a hash never grows beyond its
 * hour and two gateways never overwrite each other's part of a service.
 */
export class RedisWindows implements UsageWindows {
  readonly #link: RedisLink;
  readonly #gateway: string;
  #waiting: Point[] = [];
  #writing = false;
  #dropped = 0;

  /** @param gateway id of this control plane. */
  constructor(link: RedisLink, gateway: string) {
    this.#link = link;
    this.#gateway = gateway;
    link.redis.on('ready', () => void this.#write());
  }

  /** Points that wait for Redis. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Points that were given up because Redis was away for too long. */
  get dropped(): number {
    return this.#dropped;
  }

  add(points: readonly Point[]): void {
    this.#waiting.push(...points);
    const surplus = this.#waiting.length - mostWaiting;
    if (surplus > 0) {
      this.#waiting = this.#waiting.slice(surplus);
      this.#dropped += surplus;
    }
    void this.#write();
  }

  async read(subject: string, sinceUs: number): Promise<Usage[]> {
    const away = (cause?: unknown) =>
      new GantryError(Code.unavailable, `cannot read the history of "${subject}": Redis does not answer`, { cause });
    if (!this.#link.isReady) throw away();
    let fields: Record<string, Buffer>;
    try {
      fields = await this.#link.redis.hgetallBuffer(keyOf(subject));
    } catch (error) {
      throw away(error);
    }
    const points = Object.values(fields).map((bytes) => Usage.decode(bytes));
    const newest = Math.max(0, ...points.map((point) => point.at));
    return mergePoints(points.filter((point) => point.at >= sinceUs && point.at > newest - windowUs));
  }

  async #write(): Promise<void> {
    if (this.#writing) return;
    this.#writing = true;
    try {
      while (this.#waiting.length > 0 && this.#link.isReady) {
        const points = this.#waiting.slice(0, batch);
        const pipeline = this.#link.redis.pipeline();
        for (const { subject, usage } of points) {
          const key = keyOf(subject);
          const field = `${(usage.at / pointUs) % slots}:${this.#gateway}`;
          pipeline.hset(key, field, Buffer.from(Usage.encode(usage))).expire(key, keepSeconds);
        }
        const results = await pipeline.exec();
        if (!results || results.some(([error]) => error)) return;
        // points that came meanwhile stand behind these, unless so many came that these have gone
        this.#waiting = this.#waiting.filter((point) => !points.includes(point));
      }
    } catch {
      // away again: what waits is written when it is back
    } finally {
      this.#writing = false;
    }
  }
}

function keyOf(subject: string): string {
  return `gantry:usage:${subject}`;
}
