import type { Resources } from '@gantry/proto';
import { sequence } from './sequence.ts';

const gib = 2 ** 30;
const mib = 2 ** 20;
const dayHours = 24;

/** One service of the fleet: what it reserves, and how its use goes through the day. */
interface Profile {
  readonly reservation: Resources;
  /** Share of the reservation that is used at the mean of the day, by dimension. */
  readonly level: Resources;
  /** How far the day swings around the mean, 0..1. */
  readonly swing: number;
  /** Hour of the day with most use. */
  readonly busiestHour: number;
  /** Bursts that one replica has in a day. */
  readonly burstsPerDay: number;
}

/** One container of the fleet. */
export interface SyntheticContainer {
  readonly id: string;
  readonly service: string;
  readonly reservation: Resources;
  /** What it uses in a step of the given length; to be asked once for each step, in order. */
  use(hour: number, stepHours: number): Resources;
}

export interface FleetOptions {
  services: number;
  replicas: number;
  seed: number;
}

function profileOf(random: () => number): Profile {
  const between = (low: number, high: number) => low + (high - low) * random();
  const reservation: Resources = {
    cpuMillis: [250, 500, 1000, 2000][Math.floor(random() * 4)]!,
    memoryBytes: [256 * mib, 512 * mib, gib, 2 * gib, 4 * gib][Math.floor(random() * 5)]!,
    ioBytesPerSecond: Math.floor(between(1e6, 2e7)),
    networkBytesPerSecond: Math.floor(between(1e6, 2e7)),
  };
  const level: Resources = {
    cpuMillis: between(0.08, 0.35),
    memoryBytes: between(0.2, 0.6),
    ioBytesPerSecond: between(0.03, 0.3),
    networkBytesPerSecond: between(0.03, 0.3),
  };
  // most services follow the same users' day, and some work at night
  const busiestHour = random() < 0.8 ? between(12, 20) : between(0, 6);
  return { reservation, level, swing: between(0.2, 0.7), busiestHour, burstsPerDay: between(0, 4) };
}

/** A replica: the service's day, a share of its own, noise, and bursts of minutes that may pass its reservation. */
function container(id: string, service: string, profile: Profile, random: () => number): SyntheticContainer {
  const { reservation, level, swing, busiestHour, burstsPerDay } = profile;
  const own = 0.8 + 0.4 * random();
  let burstLeftHours = 0;
  return {
    id,
    service,
    reservation,
    use: (hour, stepHours) => {
      if (burstLeftHours > 0) burstLeftHours -= stepHours;
      else if (random() < (burstsPerDay * stepHours) / dayHours) burstLeftHours = (2 + 18 * random()) / 60;
      const day = 1 + swing * Math.cos(((hour - busiestHour) / dayHours) * 2 * Math.PI);
      const burst = burstLeftHours > 0 ? 3 : 1;
      const rate = (reserved: number, share: number) => reserved * share * own * day * burst * (0.85 + 0.3 * random());
      // memory hardly follows the load, and cannot pass its limit
      const held = reservation.memoryBytes * level.memoryBytes * own * (1 + 0.2 * (day - 1)) * (burst > 1 ? 1.2 : 1);
      return {
        cpuMillis: Math.round(rate(reservation.cpuMillis, level.cpuMillis)),
        memoryBytes: Math.round(Math.min(reservation.memoryBytes, held)),
        ioBytesPerSecond: Math.round(rate(reservation.ioBytesPerSecond, level.ioBytesPerSecond)),
        networkBytesPerSecond: Math.round(rate(reservation.networkBytesPerSecond, level.networkBytesPerSecond)),
      };
    },
  };
}

/** Services with daily cycles and bursts, the same for the same seed. */
export function syntheticFleet({ services, replicas, seed }: FleetOptions): SyntheticContainer[] {
  const random = sequence(seed);
  return Array.from({ length: services }, (_, index) => {
    const profile = profileOf(random);
    return Array.from({ length: replicas }, (_slot, slot) => container(`c${index}-${slot}`, `default/fleet/s${index}`, profile, random));
  }).flat();
}
