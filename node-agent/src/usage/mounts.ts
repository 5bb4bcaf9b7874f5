/** Where the kernel shows its control groups. */
export interface CgroupMounts {
  /** Controller -> mount point, for the controllers that are on v1. */
  v1: ReadonlyMap<string, string>;
  /** Mount point of the v2 tree, empty when there is none. */
  unified: string;
}

const controllers = new Set(['cpu', 'cpuacct', 'cpuset', 'memory', 'blkio', 'pids', 'devices', 'freezer']);

/** Finds control groups in the text of /proc/self/mountinfo; the first mount of each counts. */
export function findCgroupMounts(mountinfo: string): CgroupMounts {
  const v1 = new Map<string, string>();
  let unified = '';
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    const point = before?.split(' ')[4];
    const [type, , options = ''] = after?.split(' ') ?? [];
    if (point === undefined) continue;
    if (type === 'cgroup2' && unified === '') unified = point;
    if (type !== 'cgroup') continue;
    for (const option of options.split(',')) if (controllers.has(option) && !v1.has(option)) v1.set(option, point);
  }
  return { v1, unified };
}
