import { Limits, Resources } from '@gantry/proto';
import { bytes, cpu, rate, text, whole } from './scalars.ts';
import { type Context, type Fields, type Located, located, mapping, mustBe, type Read } from './shape.ts';

const pids = whole(1, 4_194_304);
const refusedDevices = {
  devices: 'containers get no devices of the host',
  generic_resources: 'label the nodes and use placement.constraints',
};

/** `deploy.resources` */
export const deployResources = mapping({
  limits: mapping({ cpus: cpu, memory: bytes(), pids }, { refused: refusedDevices }),
  reservations: mapping({ cpus: cpu, memory: bytes() }, { refused: refusedDevices }),
});

const weight = whole(10, 1000);
const operations = whole(1, 1e9);

/** Gantry limits a container on every disk alike: the path of the device does not count. */
function deviceRate(amount: Read<number>): Read<number> {
  const device = mapping({ path: text('a device such as /dev/sda', /^\/dev\//), rate: amount });
  const each = located(device, 'devices', 1);
  return (value, context) => {
    const [first] = each(value, context) ?? [];
    if (!first) return undefined;
    if (!first.item.has('path') || !first.item.has('rate')) return mustBe(value, context, 'a list of mappings with path and rate');
    context.problems.warn(first.at, `${value.path}: the limit holds for every disk of the node, not for "${first.item.values.path}" alone`);
    return first.item.values.rate;
  };
}

/** `blkio_config` */
export const blkio = mapping(
  {
    weight,
    device_read_bps: deviceRate(rate),
    device_write_bps: deviceRate(rate),
    device_read_iops: deviceRate(operations),
    device_write_iops: deviceRate(operations),
  },
  { refused: { weight_device: 'use weight' } },
);

const ioLimit = mapping({ read: rate, write: rate, read_operations: operations, write_operations: operations });
const networkLimit = mapping({ receive: rate, transmit: rate });

/** A rate for both directions, or a mapping that tells them apart. */
function oneOrBoth<T>(both: (amount: number) => T, apart: Read<T>): Read<T> {
  return (value, context) => {
    if (value.kind !== 'scalar') return apart(value, context);
    const amount = rate(value, context);
    return amount === undefined ? undefined : both(amount);
  };
}

type IoLimit = Partial<
  Pick<Limits, 'ioReadBytesPerSecond' | 'ioWriteBytesPerSecond' | 'ioReadOperationsPerSecond' | 'ioWriteOperationsPerSecond'>
>;
type NetworkLimit = Partial<Pick<Limits, 'networkReceiveBytesPerSecond' | 'networkTransmitBytesPerSecond'>>;

/** `x-gantry.io` */
export const io = mapping({
  reservation: rate,
  limit: oneOrBoth<IoLimit>(
    (amount) => ({ ioReadBytesPerSecond: amount, ioWriteBytesPerSecond: amount }),
    (value, context) => {
      const values = ioLimit(value, context)?.values;
      return (
        values && {
          ioReadBytesPerSecond: values.read ?? 0,
          ioWriteBytesPerSecond: values.write ?? 0,
          ioReadOperationsPerSecond: values.read_operations ?? 0,
          ioWriteOperationsPerSecond: values.write_operations ?? 0,
        }
      );
    },
  ),
  weight,
});

/** `x-gantry.network` */
export const network = mapping({
  reservation: rate,
  limit: oneOrBoth<NetworkLimit>(
    (amount) => ({ networkReceiveBytesPerSecond: amount, networkTransmitBytesPerSecond: amount }),
    (value, context) => {
      const values = networkLimit(value, context)?.values;
      return values && { networkReceiveBytesPerSecond: values.receive ?? 0, networkTransmitBytesPerSecond: values.transmit ?? 0 };
    },
  ),
});

type ValuesOf<R> = R extends Read<Fields<infer T>> ? Fields<T> : never;

/** Everything of a service that says how much. */
export interface ResourceKeys {
  deploy: ValuesOf<typeof deployResources> | undefined;
  cpus: Located<number> | undefined;
  memory: Located<number> | undefined;
  pids: Located<number> | undefined;
  blkio: ValuesOf<typeof blkio> | undefined;
  blkioAt: number;
  io: ValuesOf<typeof io> | undefined;
  network: ValuesOf<typeof network> | undefined;
}

/** The same limit said in two places must be the same. */
function agreed(first: Located<number> | undefined, second: Located<number> | undefined, what: string, context: Context): number {
  if (first && second && first.item !== second.item) {
    context.problems.refuse(
      first.at,
      `cannot read the limit of ${what}: must be said once, found another value under deploy.resources.limits`,
    );
  }
  return second?.item ?? first?.item ?? 0;
}

function under<K extends string>(
  fields: { values: Partial<Record<K, number>>; at: (key: K) => number } | undefined,
  key: K,
): Located<number> | undefined {
  const item = fields?.values[key];
  return fields && item !== undefined ? { at: fields.at(key), item } : undefined;
}

const standard = { cpuMillis: 100, memoryBytes: 64 * 2 ** 20 };

/** Reservations and limits; who reserves nothing is given 100m of CPU and 64 MiB, at most its limit. */
export function resourcesOf(keys: ResourceKeys, context: Context): { reservation: Resources; limits: Limits } {
  const said = keys.deploy?.values.limits;
  const reserved = keys.deploy?.values.reservations;
  const cpuMillis = agreed(keys.cpus, under(said, 'cpus'), 'CPU', context);
  const memoryBytes = agreed(keys.memory, under(said, 'memory'), 'memory', context);
  const blkioValues = keys.blkio?.values ?? {};
  if (Object.keys(blkioValues).length > 0 && (keys.io?.values.limit || keys.io?.values.weight)) {
    context.problems.refuse(keys.blkioAt, 'cannot read the limit of block I/O: must be said once, found it under x-gantry.io too');
  }
  const limits = Limits.create({
    cpuMillis,
    memoryBytes,
    pids: agreed(keys.pids, under(said, 'pids'), 'processes', context),
    ioReadBytesPerSecond: blkioValues.device_read_bps ?? 0,
    ioWriteBytesPerSecond: blkioValues.device_write_bps ?? 0,
    ioReadOperationsPerSecond: blkioValues.device_read_iops ?? 0,
    ioWriteOperationsPerSecond: blkioValues.device_write_iops ?? 0,
    ioWeight: blkioValues.weight ?? keys.io?.values.weight ?? 0,
    ...keys.io?.values.limit,
    ...keys.network?.values.limit,
  });
  const reservation = Resources.create({
    cpuMillis: reserve(under(reserved, 'cpus'), cpuMillis, standard.cpuMillis, 'cpus', context),
    memoryBytes: reserve(under(reserved, 'memory'), memoryBytes, standard.memoryBytes, 'memory', context),
    ioBytesPerSecond: keys.io?.values.reservation ?? 0,
    networkBytesPerSecond: keys.network?.values.reservation ?? 0,
  });
  compareRates(keys, reservation, limits, context);
  return { reservation, limits };
}

function reserve(asked: Located<number> | undefined, limit: number, usual: number, what: string, context: Context): number {
  if (asked && limit > 0 && asked.item > limit) {
    context.problems.refuse(asked.at, `cannot reserve ${what} ${asked.item}: must be at most the limit, found a limit of ${limit}`);
  }
  return asked?.item ?? (limit > 0 ? Math.min(usual, limit) : usual);
}

/** Both directions together must be able to reach what is reserved. */
function compareRates({ io, network }: ResourceKeys, reservation: Resources, limits: Limits, { problems }: Context): void {
  const { ioReadBytesPerSecond: read, ioWriteBytesPerSecond: write } = limits;
  if (io && read > 0 && write > 0 && reservation.ioBytesPerSecond > read + write) {
    problems.refuse(io.at('reservation'), `cannot reserve "${io.path}": must be at most its limits together, found more`);
  }
  const { networkReceiveBytesPerSecond: receive, networkTransmitBytesPerSecond: transmit } = limits;
  if (network && receive > 0 && transmit > 0 && reservation.networkBytesPerSecond > receive + transmit) {
    problems.refuse(network.at('reservation'), `cannot reserve "${network.path}": must be at most its limits together, found more`);
  }
}
