import { Code, GantryError } from '@gantry/common';

/** An IPv4 subnet as numbers. */
export interface Subnet {
  /** First address, the network's own. */
  base: number;
  prefix: number;
  /** Number of addresses in it. */
  size: number;
}

/** The 32-bit number of a dotted IPv4 address; undefined when the text is none. */
export function parseAddress(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  let value = 0;
  for (const part of match.slice(1)) {
    if (Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return value;
}

/** The dotted text of a 32-bit number. */
export function formatAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}

/** Reads "10.64.3.0/24"; `invalidArgument` unless it is an IPv4 subnet with room for containers. */
export function parseSubnet(text: string): Subnet {
  const [address = '', length = '', ...rest] = text.split('/');
  const value = parseAddress(address);
  const prefix = /^\d{1,2}$/.test(length) ? Number(length) : -1;
  if (value === undefined || rest.length > 0 || prefix < 1 || prefix > 30) {
    throw new GantryError(Code.invalidArgument, `cannot use subnet "${text}": must be an IPv4 address with a prefix length of 1 to 30`);
  }
  const size = 2 ** (32 - prefix);
  return { base: value - (value % size), prefix, size };
}

/** Whether the address lies in the subnet. */
export function contains(subnet: Subnet, address: string): boolean {
  const value = parseAddress(address);
  return value !== undefined && value >= subnet.base && value < subnet.base + subnet.size;
}

/** The bridge's address, which is the containers' gateway and name server: the subnet's first usable one. */
export function gatewayOf(subnet: Subnet): string {
  return formatAddress(subnet.base + 1);
}

/**
 * The next free address for a container. It goes round from the one given out last, so that an address
 * rests as long as possible before another container gets it. The first two and the last of the subnet
 * are never given out.
 *
 * @param used addresses that containers of the node's records hold.
 * @throws `resourceExhausted` when the subnet is full.
 */
export function allocateAddress(subnet: Subnet, used: ReadonlySet<string>, last?: string): string {
  const usable = subnet.size - 3;
  const before = last !== undefined && contains(subnet, last) ? (parseAddress(last) ?? 0) - subnet.base - 2 : -1;
  for (let step = 1; step <= usable; step++) {
    const address = formatAddress(subnet.base + 2 + ((before + step + usable) % usable));
    if (!used.has(address)) return address;
  }
  throw new GantryError(
    Code.resourceExhausted,
    `cannot give out an address of ${formatAddress(subnet.base)}/${subnet.prefix}: all ${usable} are in use`,
    { details: { hint: 'stop containers on this node or give the cluster larger node subnets' } },
  );
}
