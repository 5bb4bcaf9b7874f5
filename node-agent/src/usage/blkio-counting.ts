import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupMounts } from './mounts.ts';

/** A limit that nothing reaches: 1 EiB a second. */
const unreachable = 2 ** 60;

/**
 * Makes v1's blkio controller count. Newer kernels (seen on 6.18) set up throttling of a disk, and with it the
 * counters of all groups, only when the first limit of that disk is written; it stays set up when the limit goes.
 * So an unreachable limit is set on the root group and taken back.
 *
 * @returns the disks ("254:0") that refused; these show no I/O of containers.
 */
export function startBlkioCounting(mounts: CgroupMounts, sysRoot = '/sys'): string[] {
  const root = mounts.v1.get('blkio');
  if (root === undefined) return [];
  const limit = join(root, 'blkio.throttle.read_bps_device');
  return disks(sysRoot).filter((device) => !touch(limit, device));
}

function touch(limit: string, device: string): boolean {
  try {
    // "r+": the file is the kernel's; where it is missing none must be made
    if (readFileSync(limit, 'latin1').includes(`${device} `)) return true;
    writeFileSync(limit, `${device} ${unreachable}`, { flag: 'r+' });
    writeFileSync(limit, `${device} 0`, { flag: 'r+' });
    return true;
  } catch {
    // reported by the caller: a disk without counting is no reason not to run
    return false;
  }
}

/** Numbers of all whole disks but memory and loop devices. */
function disks(sysRoot: string): string[] {
  try {
    const names = readdirSync(join(sysRoot, 'block')).filter((name) => !/^(loop|ram|zram)\d/.test(name));
    return names.map((name) => readFileSync(join(sysRoot, 'block', name, 'dev'), 'latin1').trim());
  } catch {
    // no /sys: nothing to set up
    return [];
  }
}
