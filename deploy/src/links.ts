import { readdirSync } from 'node:fs';
import { run } from './process.ts';

/** Names and addresses of a local cluster's network: hosts are Linux network namespaces on one bridge. */
export interface Fabric {
  /** Four hex digits that mark everything of this cluster. */
  id: string;
  /** Second octet of 10.x.0.0/16, which the cluster has to itself. */
  octet: number;
  nodes: number;
}

const fabricNamespace = (id: string): string => `gantry-${id}`;
export const hostNamespace = (id: string, node: number): string => `gantry-${id}-n${node}`;
export const hostAddress = (fabric: Fabric, node: number): string => `10.${fabric.octet}.255.${node}`;
/** Where this machine itself stands in the cluster's network. */
export const machineAddress = (fabric: Fabric): string => `10.${fabric.octet}.255.254`;
export const clusterCidr = (fabric: Fabric): string => `10.${fabric.octet}.0.0/17`;
const machineLink = (id: string): string => `gantry${id}`;

interface Route {
  dst: string;
}

/** A 10.x.0.0/16 that no route of this machine touches. */
export async function freeOctet(seed: number): Promise<number> {
  const routes = JSON.parse(await run('ip', ['-j', '-4', 'route', 'show', 'table', 'all'])) as Route[];
  const taken = new Set(routes.map((route) => route.dst.split('.')).flatMap(([first, second]) => (first === '10' ? [Number(second)] : [])));
  for (let step = 0; step < 100; step++) {
    const octet = 100 + ((seed + step) % 100);
    if (!taken.has(octet)) return octet;
  }
  throw new Error('no free 10.x.0.0/16 between 10.100 and 10.199');
}

/** The commands that make the network, in order. */
export function fabricCommands(fabric: Fabric): string[] {
  const { id } = fabric;
  const bridge = fabricNamespace(id);
  const commands = [
    `netns add ${bridge}`,
    `-n ${bridge} link set lo up`,
    `-n ${bridge} link add br0 type bridge`,
    `-n ${bridge} link set br0 up`,
    `link add ${machineLink(id)} type veth peer name machine netns ${bridge}`,
    `-n ${bridge} link set machine master br0 up`,
    `addr add ${machineAddress(fabric)}/24 dev ${machineLink(id)}`,
    `link set ${machineLink(id)} up`,
  ];
  for (let node = 1; node <= fabric.nodes; node++) {
    const host = hostNamespace(id, node);
    commands.push(
      `netns add ${host}`,
      `-n ${host} link set lo up`,
      `-n ${bridge} link add p${node} type veth peer name eth0 netns ${host}`,
      `-n ${bridge} link set p${node} master br0 up`,
      `-n ${host} addr add ${hostAddress(fabric, node)}/24 dev eth0`,
      `-n ${host} link set eth0 up`,
      `-n ${host} route add default via ${machineAddress(fabric)}`,
    );
  }
  return commands;
}

export async function createFabric(fabric: Fabric): Promise<void> {
  for (const command of fabricCommands(fabric)) await run('ip', command.split(' '));
}

/** Takes a host's link down (or up again): it is cut off from everything but itself. */
export async function setLink(fabric: Fabric, node: number, up: boolean): Promise<void> {
  await run('ip', ['-n', fabricNamespace(fabric.id), 'link', 'set', `p${node}`, up ? 'up' : 'down']);
}

/** Removes every network namespace of the cluster; links, bridges, routes and nft tables go with them. */
export async function removeFabric(id: string): Promise<void> {
  const names = existing().filter((name) => name === fabricNamespace(id) || name.startsWith(`${fabricNamespace(id)}-`));
  // the machine's end goes with its peer, but later than the command returns: remove it by name
  await run('ip', ['link', 'del', machineLink(id)]).catch(() => undefined);
  for (const name of names) await run('ip', ['netns', 'del', name]);
}

function existing(): string[] {
  try {
    return readdirSync('/run/netns');
  } catch {
    return []; // nobody has made one yet
  }
}
