import { type Endpoint, PortProtocol, type ServiceEndpoints } from '@gantry/proto';

/** One published port and where it leads. */
interface PublishedPort {
  protocol: 'tcp' | 'udp';
  /** Port on every node. */
  published: number;
  /** Port in the containers. */
  target: number;
  /** Addresses of the ready containers of the whole cluster, sorted, at least one. */
  addresses: readonly string[];
}

/** The node's side of the table. */
export interface PortTable {
  /** Name of the nft table. */
  table: string;
  bridge: string;
  /** The bridge's address, where the name server listens on port 53. */
  gateway: string;
  /** Subnet of this node's containers. */
  subnet: string;
  /** Range of all nodes' subnets. */
  clusterCidr: string;
}

/** Published ports by "tcp/8080". */
export type PublishedPorts = ReadonlyMap<string, PublishedPort>;

const protocolName = { [PortProtocol.tcp]: 'tcp', [PortProtocol.udp]: 'udp' } as const;

/**
 * The published ports that lead somewhere. The control plane refuses two services with the same
 * port; should it happen, the first by name has it, so that every node agrees. A port without a ready
 * container is left to the node, which answers that nothing listens.
 */
export function publishedPorts(services: Iterable<ServiceEndpoints>): PublishedPorts {
  const taken = new Set<string>();
  const found = new Map<string, PublishedPort>();
  for (const service of [...services].sort(byName)) {
    const addresses = addressesOf(service.endpoints);
    for (const port of service.ports) {
      const protocol = protocolName[port.protocol];
      const key = `${protocol}/${port.published}`;
      if (port.published === 0 || taken.has(key)) continue;
      taken.add(key);
      if (addresses.length > 0) found.set(key, { protocol, published: port.published, target: port.target, addresses });
    }
  }
  return found;
}

function byName(a: ServiceEndpoints, b: ServiceEndpoints): number {
  const name = ({ key }: ServiceEndpoints) => `${key?.namespace}/${key?.app}/${key?.service}`;
  return name(a) < name(b) ? -1 : 1;
}

function addressesOf(endpoints: readonly Endpoint[]): string[] {
  return [...new Set(endpoints.map((endpoint) => endpoint.address).filter((address) => address !== ''))].sort();
}

/**
 * The nft script that makes the table anew, with its ports, in one transaction. Each port has a chain
 * of its own that a map finds, so that a connection costs the same with one port and with thousands,
 * and a change touches one chain. Connection tracking keeps each connection where it began, also when
 * its container has left the map.
 */
export function tableScript(table: PortTable, ports: PublishedPorts): string {
  const name = `ip ${table.table}`;
  return [
    `add table ${name}`,
    `delete table ${name}`,
    `table ${name} {`,
    '  map ports { type inet_proto . inet_service : verdict; }',
    // the node's loopback addresses are routable for published ports; the containers stay out of them
    chain('guard', 'type filter hook prerouting priority raw', ['iifname != "lo" ip daddr 127.0.0.0/8 drop']),
    chain('prerouting', 'type nat hook prerouting priority dstnat', toPorts(table)),
    chain('output', 'type nat hook output priority -100', toPorts(table)),
    chain('postrouting', 'type nat hook postrouting priority srcnat', postrouting(table)),
    '}',
    changeScript(table.table, new Map(), ports),
  ].join('\n');
}

/** A published port 53 must not take the containers' name server from them. */
function toPorts({ gateway }: PortTable): string[] {
  return [`ip daddr ${gateway} meta l4proto { tcp, udp } th dport 53 return`, 'fib daddr type local meta l4proto . th dport vmap @ports'];
}

function chain(name: string, hook: string, rules: readonly string[]): string {
  return [`  chain ${name} {`, `    ${hook}; policy accept;`, ...rules.map((text) => `    ${text}`), '  }'].join('\n');
}

/**
 * Whose answers must come back through this node gets the node's address: the client of a published
 * port whose container is on another node, is a container of this node itself, or is the node by its
 * loopback. Any other client's address is kept. Containers that talk to the outside get the node's too.
 */
function postrouting({ subnet, clusterCidr, bridge }: PortTable): string[] {
  return [
    `ct status dnat ip daddr ${clusterCidr} ip daddr != ${subnet} masquerade`,
    `ct status dnat ip daddr ${subnet} ip saddr { ${subnet}, 127.0.0.0/8 } masquerade`,
    `ip saddr ${subnet} ip daddr != ${clusterCidr} oifname != "${bridge}" masquerade`,
  ];
}

/** The nft script from one set of ports to another; empty when they are equal. */
export function changeScript(table: string, before: PublishedPorts, after: PublishedPorts): string {
  const lines: string[] = [];
  for (const [key, port] of before) {
    if (after.has(key)) continue;
    lines.push(`delete element ip ${table} ports { ${elementOf(port)} }`);
    lines.push(`flush chain ip ${table} ${chainOf(port)}`, `delete chain ip ${table} ${chainOf(port)}`);
  }
  for (const [key, port] of after) {
    const former = before.get(key);
    if (former !== undefined && ruleOf(former) === ruleOf(port)) continue;
    lines.push(`${former === undefined ? 'add' : 'flush'} chain ip ${table} ${chainOf(port)}`);
    lines.push(`add rule ip ${table} ${chainOf(port)} ${ruleOf(port)}`);
    if (former === undefined) lines.push(`add element ip ${table} ports { ${elementOf(port)} : goto ${chainOf(port)} }`);
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function chainOf(port: PublishedPort): string {
  return `${port.protocol}_${port.published}`;
}

function elementOf(port: PublishedPort): string {
  return `${port.protocol} . ${port.published}`;
}

/** Each new connection goes to any of the addresses with the same chance. */
function ruleOf(port: PublishedPort): string {
  const { addresses, protocol, target } = port;
  // the protocol is known from the map, but nft wants to see it next to a port
  const match = `meta l4proto ${protocol}`;
  if (addresses.length === 1) return `${match} dnat to ${addresses[0]}:${target}`;
  const choices = addresses.map((address, index) => `${index} : ${address}`).join(', ');
  return `${match} dnat to numgen random mod ${addresses.length} map { ${choices} }:${target}`;
}
