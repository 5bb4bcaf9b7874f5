import type { Limits, Resources as Reservation } from '@gantry/proto';
import type { DeviceRule, Resources } from './oci.ts';

const periodUs = 100_000;
const defaultPids = 4096;

/** Device nodes that every container may use: null, zero, full, random, urandom, tty, console, ptmx, pts. */
const devices: readonly DeviceRule[] = [
  { allow: false, access: 'rwm' },
  ...[3, 5, 7, 8, 9].map((minor) => ({ allow: true, type: 'c', major: 1, minor, access: 'rwm' })),
  ...[0, 1, 2].map((minor) => ({ allow: true, type: 'c', major: 5, minor, access: 'rwm' })),
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

function rates(disks: readonly string[], rate: number): { major: number; minor: number; rate: number }[] {
  return disks.map((disk) => {
    const [major = 0, minor = 0] = disk.split(':').map(Number);
    return { major, minor, rate };
  });
}

/** What the kernel enforces and weighs, as linux.resources; without the device rules it is what `update` takes. */
export function limitResources(limits: Limits | null, reservation: Reservation | null, disks: readonly string[]): Resources {
  const cpuMillis = limits?.cpuMillis ?? 0;
  const memoryBytes = limits?.memoryBytes ?? 0;
  const io = {
    ...(limits?.ioWeight ? { weight: limits.ioWeight } : {}),
    ...(limits?.ioReadBytesPerSecond ? { throttleReadBpsDevice: rates(disks, limits.ioReadBytesPerSecond) } : {}),
    ...(limits?.ioWriteBytesPerSecond ? { throttleWriteBpsDevice: rates(disks, limits.ioWriteBytesPerSecond) } : {}),
    ...(limits?.ioReadOperationsPerSecond ? { throttleReadIOPSDevice: rates(disks, limits.ioReadOperationsPerSecond) } : {}),
    ...(limits?.ioWriteOperationsPerSecond ? { throttleWriteIOPSDevice: rates(disks, limits.ioWriteOperationsPerSecond) } : {}),
  };
  return {
    cpu: {
      // 1024 shares are one core's worth
      shares: Math.max(2, Math.min(262_144, Math.round(((reservation?.cpuMillis ?? 100) * 1024) / 1000))),
      ...(cpuMillis > 0 ? { period: periodUs, quota: Math.max(1000, (cpuMillis * periodUs) / 1000) } : {}),
    },
    ...(memoryBytes > 0 ? { memory: { limit: memoryBytes } } : {}),
    pids: { limit: limits?.pids ? limits.pids : defaultPids },
    ...(Object.keys(io).length > 0 ? { blockIO: io } : {}),
  };
}

/** The limits of a new container, device rules included. */
export function startResources(limits: Limits | null, reservation: Reservation | null, disks: readonly string[]): Resources {
  return { devices: [...devices], ...limitResources(limits, reservation, disks) };
}
