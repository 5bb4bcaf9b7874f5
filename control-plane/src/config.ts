import { hostname } from 'node:os';
import { Code, GantryError, isName, type OptionValues, option } from '@gantry/common';
import { parseRange } from './gateway/subnets.ts';

/** Prefix of the environment variables. */
export const variablePrefix = 'GANTRY_CONTROL_PLANE';

const text = (value: string) => value;

function refuse(must: string): never {
  throw new GantryError(Code.invalidArgument, `must be ${must}`);
}

/** "host:port", also with an IPv6 address in brackets. */
function address(value: string): string {
  const match = /^(\[[0-9a-fA-F:]+\]|[^\s:,]+):(\d{1,5})$/.exec(value);
  return match && Number(match[2]) <= 65_535 ? value : refuse('host:port');
}

/** A range that at least one node's subnet fits in. */
function clusterRange(value: string): string {
  return parseRange(value).prefix <= 24 ? value : refuse('a range of at least 256 addresses');
}

const addresses = (value: string): readonly string[] => (value === '' ? [] : value.split(',').map(address));
const oneOf =
  <const T extends string>(...allowed: readonly T[]) =>
  (value: string): T =>
    allowed.find((one) => one === value) ?? refuse(`one of ${allowed.join(', ')}`);

/** All options of the control plane. */
export const optionTable = {
  listen: option({ parse: addresses, default: ['127.0.0.1:7400'], help: 'addresses of the gRPC port', value: 'HOST:PORT,…' }),
  httpListen: option({ parse: address, default: '127.0.0.1:7401', help: 'address of /healthz and /metrics', value: 'HOST:PORT' }),
  advertise: option({
    parse: text,
    default: '',
    help: 'address that agents and users reach it by; empty: the first of --listen',
    value: 'HOST:PORT',
  }),
  etcd: option({ parse: addresses, default: ['127.0.0.1:2379'], help: 'members of etcd', value: 'HOST:PORT,…' }),
  redis: option({
    parse: (value) => (value === '' ? '' : address(value)),
    default: '',
    help: 'Redis for operations and history; empty: none',
    value: 'HOST:PORT',
  }),
  dataDir: option({
    parse: text,
    default: '/var/lib/gantry/control-plane',
    help: 'folder of the cluster key and the server certificate',
    value: 'DIR',
  }),
  contextFile: option({ parse: text, default: '', help: "file for the local user's certificate; empty: none", value: 'FILE' }),
  id: option({
    parse: (value) => (isName(value) ? value : refuse('lower-case letters, digits and inner hyphens')),
    default: hostname()
      .toLowerCase()
      .replaceAll(/[^a-z0-9-]/g, '-'),
    help: 'name of this control plane, unique in the cluster',
    value: 'NAME',
  }),
  clusterCidr: option({
    parse: clusterRange,
    default: '10.64.0.0/12',
    help: 'range of the containers; each node gets a /24 of it',
    value: 'RANGE',
  }),
  clusterDomain: option({ parse: text, default: 'gantry.internal', help: 'domain of the service names', value: 'DOMAIN' }),
  bootstrapTokenFile: option({
    parse: text,
    default: '',
    help: 'where to write a join token of 1000 uses at the first start; empty: none',
    value: 'FILE',
  }),
  logLevel: option({
    parse: oneOf('trace', 'debug', 'info', 'warn', 'error', 'silent'),
    default: 'info' as const,
    help: 'least severity that is logged',
    value: 'LEVEL',
  }),
  strategy: option({
    parse: oneOf('binpack', 'spread'),
    default: 'binpack' as const,
    help: 'fill nodes one by one, or keep all equally free',
    value: 'NAME',
  }),
} as const;

export type Config = OptionValues<typeof optionTable>;

/** The host of "host:port". */
export function hostOf(value: string): string {
  return value.slice(0, value.lastIndexOf(':')).replaceAll(/[[\]]/g, '');
}
