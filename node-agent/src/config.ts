import { hostname } from 'node:os';
import { isName, option, parseBytes, parseCpu, parseRate } from '@gantry/common';
import type { Resources } from '@gantry/proto';

/** Prefix of the agent's environment variables. */
export const prefix = 'GANTRY_AGENT';

function list(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function addresses(text: string): string[] {
  const parts = list(text);
  for (const part of parts)
    if (!/^(\[[0-9a-f:]+\]|[^:\s]+):\d{1,5}$/i.test(part)) throw new Error(`must be a list of host:port, found "${part}"`);
  return parts;
}

function absolute(text: string): string {
  if (!text.startsWith('/')) throw new Error('must be an absolute path');
  return text;
}

function absolutes(text: string): string[] {
  return list(text).map(absolute);
}

function labels(text: string): (readonly [string, string])[] {
  return list(text).map((pair) => {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new Error(`must be a list of name=value, found "${pair}"`);
    return [pair.slice(0, equals), pair.slice(equals + 1)];
  });
}

const dimensions: Readonly<Record<string, (text: string) => Partial<Resources>>> = {
  cpu: (text) => ({ cpuMillis: parseCpu(text) }),
  memory: (text) => ({ memoryBytes: parseBytes(text) }),
  io: (text) => ({ ioBytesPerSecond: parseRate(text) }),
  network: (text) => ({ networkBytesPerSecond: parseRate(text) }),
};

function capacity(text: string): Partial<Resources>[] {
  return list(text).map((pair) => {
    const [name = '', value = ''] = pair.split('=');
    const read = dimensions[name];
    if (!read) throw new Error(`must name cpu, memory, io or network, found "${name}"`);
    return read(value);
  });
}

function nodeName(text: string): string {
  if (!isName(text)) throw new Error('must be lower case letters, digits and inner hyphens, at most 63');
  return text;
}

function defaultName(): string {
  const name = hostname().split('.')[0]!.toLowerCase();
  return isName(name) ? name : 'node';
}

function bridge(text: string): string {
  if (!/^[a-z][\w.-]{0,14}$/i.test(text)) throw new Error('must be an interface name of at most 15 characters');
  return text;
}

function path(text: string): string {
  return text;
}

/** Every option of the agent. */
export const options = {
  controlPlane: option({ parse: addresses, default: ['127.0.0.1:7400'], value: 'HOST:PORT,…', help: 'control planes, tried in turn' }),
  token: option({ parse: path, default: '', value: 'TOKEN', help: 'join token, for the first start' }),
  tokenFile: option({ parse: path, default: '', value: 'FILE', help: 'file with the join token' }),
  name: option({ parse: nodeName, default: defaultName(), value: 'NAME', help: 'name of the node' }),
  address: option({
    parse: path,
    default: '',
    value: 'ADDRESS',
    help: 'address that other nodes reach this one by; default the first of the host',
  }),
  dataDir: option({ parse: absolute, default: '/var/lib/gantry', value: 'DIR', help: 'state that outlives a reboot' }),
  runDir: option({ parse: absolute, default: '/run/gantry', value: 'DIR', help: 'state that ends with a reboot' }),
  cgroupParent: option({ parse: absolute, default: '/gantry', value: 'PATH', help: 'cgroup that holds all containers' }),
  capacity: option({
    parse: capacity,
    default: [],
    value: 'LIST',
    help: 'what may be reserved, "cpu=2,memory=4Gi,io=200MB/s,network=1Gbit/s"; default measured',
  }),
  labels: option({ parse: labels, default: [], value: 'K=V,…', help: 'labels of the node' }),
  bridge: option({ parse: bridge, default: 'gantry0', value: 'NAME', help: 'bridge of the containers' }),
  berth: option({ parse: path, default: 'berth', value: 'PATH', help: 'the container runtime' }),
  netd: option({ parse: path, default: 'gantry-netd', value: 'PATH', help: 'the network helper' }),
  unpack: option({ parse: path, default: 'gantry-unpack', value: 'PATH', help: 'the unpacker of image layers' }),
  insecureRegistries: option({ parse: addresses, default: [], value: 'HOST:PORT,…', help: 'registries that speak plain http' }),
  bindRoots: option({ parse: absolutes, default: [], value: 'DIR,…', help: 'host folders that containers may mount' }),
  logLevel: option({ parse: path, default: 'info', value: 'LEVEL', help: 'trace, debug, info, warn, error' }),
} as const;
