import { constants } from 'node:os';
import { Ulimit } from '@gantry/proto';
import { bytes, duration, oneOf, text, whole } from './scalars.ts';
import { list, mapping, mustBe, named, type Read } from './shape.ts';

const hostPart = '(?:[A-Za-z0-9][A-Za-z0-9.-]*\\.[A-Za-z0-9.-]*|localhost|[A-Za-z0-9.-]+:\\d+|[A-Za-z0-9.-]+\\.[A-Za-z0-9.-]+:\\d+)';
const pathPart = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const reference = new RegExp(
  `^(?:${hostPart}/)?${pathPart}(?:/${pathPart})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$`,
);

/** The name of an image: "nginx:1.27", "registry.example:5000/team/web@sha256:…". */
export const image = text('an image reference such as "registry.example/team/web:1.2"', reference, 512);

const longestId = 4_294_967_294;

/** `user`: "name", "1000", "1000:1000". */
export const user: Read<string> = (value, context) => {
  const must = '"user" or "user:group", names or numbers up to 4294967294';
  const written = text(must, /^([a-z_][a-z0-9_.-]*|\d+)(:([a-z_][a-z0-9_.-]*|\d+))?$/i, 255)(value, context);
  if (written === undefined) return undefined;
  return written.split(':').some((part) => /^\d+$/.test(part) && Number(part) > longestId) ? mustBe(value, context, must) : written;
};

export const workingDir = text('an absolute path', /^\//);
export const hostname = text('a host name of at most 63 characters', /^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$/);

/** `stop_signal`: "SIGTERM", "TERM" or a number. */
export const stopSignal: Read<string> = (value, context) => {
  const must = 'a signal such as SIGTERM, or a number from 1 to 64';
  const written = text(must)(value, context);
  if (written === undefined) return undefined;
  if (/^\d+$/.test(written)) return Number(written) >= 1 && Number(written) <= 64 ? String(Number(written)) : mustBe(value, context, must);
  const upper = written.toUpperCase();
  const full = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  return Object.hasOwn(constants.signals, full) ? full : mustBe(value, context, must);
};

export const gracePeriod = duration(0);

/** capabilities(7) */
const capabilityNames = new Set(
  `AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID
  IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON
  SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE
  SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`.split(/\s+/),
);

const capability: Read<string> = (value, context) => {
  const must = 'a capability of Linux such as NET_ADMIN, or ALL';
  const bare = text(must)(value, context)?.toUpperCase().replace(/^CAP_/, '');
  if (bare === undefined) return undefined;
  if (bare === 'ALL') return 'ALL';
  return capabilityNames.has(bare) ? `CAP_${bare}` : mustBe(value, context, must);
};

export const capabilities = list(capability, 'capabilities', 64);

const securityOption = text(
  'no-new-privileges:true, no-new-privileges:false or seccomp:unconfined',
  /^(no-new-privileges([:=](true|false))?|seccomp[:=]unconfined)$/,
);
export const securityOptions = list(securityOption, 'options', 8);

const ulimitNames = oneOf(
  Object.fromEntries(
    'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'
      .split(' ')
      .map((one) => [one, one]),
  ),
);
const amount = whole(0, Number.MAX_SAFE_INTEGER);
const ulimitTable = mapping({ soft: amount, hard: amount });

const ulimitAmounts: Read<{ soft: number; hard: number }> = (value, context) => {
  if (value.kind !== 'mapping') {
    const both = amount(value, context);
    return both === undefined ? undefined : { soft: both, hard: both };
  }
  const fields = ulimitTable(value, context);
  if (!fields) return undefined;
  const { soft, hard } = fields.values;
  if (!fields.has('soft') || !fields.has('hard')) return mustBe(value, context, 'a mapping with soft and hard');
  if (soft === undefined || hard === undefined) return undefined;
  if (soft <= hard) return { soft, hard };
  return context.problems.refuse(fields.at('soft'), `cannot read "${value.path}": soft must be at most hard (${hard}), found ${soft}`);
};

const ulimitEntries = named('limits', ulimitNames, ulimitAmounts);

export const ulimits: Read<Ulimit[]> = (value, context) =>
  ulimitEntries(value, context)?.map(({ item }) => Ulimit.create({ name: item.name, ...item.value }));

/** `logging`: the rotation of the log files, 10 MiB x 3 by default. */
export const logging = mapping({
  driver: oneOf({ 'json-file': true, local: true }),
  options: mapping(
    { 'max-size': bytes(65_536), 'max-file': whole(1, 100) },
    { refused: { compress: 'log files are not compressed', mode: 'writing never waits for a reader' } },
  ),
});
