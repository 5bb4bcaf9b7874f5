import { Code, GantryError } from '@gantry/common';

/** Docker's default set without NET_RAW, which lets a container forge packets. */
const defaults = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
] as const;

/** Every capability of Linux 5.9 and later, capabilities(7). */
const known: ReadonlySet<string> = new Set([
  ...defaults,
  ...['AUDIT_CONTROL', 'AUDIT_READ', 'BLOCK_SUSPEND', 'BPF', 'CHECKPOINT_RESTORE', 'DAC_READ_SEARCH', 'IPC_LOCK'].map(named),
  ...['IPC_OWNER', 'LEASE', 'LINUX_IMMUTABLE', 'MAC_ADMIN', 'MAC_OVERRIDE', 'NET_ADMIN', 'NET_BROADCAST', 'NET_RAW'].map(named),
  ...['PERFMON', 'SYS_ADMIN', 'SYS_BOOT', 'SYS_MODULE', 'SYS_NICE', 'SYS_PACCT', 'SYS_PTRACE', 'SYS_RAWIO'].map(named),
  ...['SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'SYSLOG', 'WAKE_ALARM'].map(named),
]);

function named(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
}

function read(name: string, key: string): string {
  const capability = named(name);
  if (!known.has(capability)) {
    throw new GantryError(Code.invalidArgument, `cannot read ${key} "${name}": must be a capability of Linux such as NET_ADMIN, or ALL`);
  }
  return capability;
}

/**
 * The capabilities of a container: the defaults, less `drop`, plus `add`, sorted. ALL means all of them.
 * @throws GantryError invalidArgument for a name that is no capability.
 */
export function capabilitiesOf(add: readonly string[], drop: readonly string[]): string[] {
  const isAll = (name: string) => name.toUpperCase() === 'ALL';
  const added = add.some(isAll) ? [...known] : add.map((name) => read(name, 'cap_add'));
  const dropped = new Set(drop.filter((name) => !isAll(name)).map((name) => read(name, 'cap_drop')));
  const kept = drop.some(isAll) ? [] : defaults.filter((capability) => !dropped.has(capability));
  return [...new Set([...kept, ...added.filter((capability) => !(add.some(isAll) && dropped.has(capability)))])].sort();
}
