import { type LookupAddress, type LookupOptions, lookup as resolve } from 'node:dns';
import { BlockList, isIP } from 'node:net';

/** Addresses that mean this node or its link: a stranger's redirect must not lead there. */
const local = new BlockList();
local.addSubnet('0.0.0.0', 8, 'ipv4');
local.addSubnet('127.0.0.0', 8, 'ipv4');
local.addSubnet('169.254.0.0', 16, 'ipv4');
local.addSubnet('224.0.0.0', 3, 'ipv4');
local.addAddress('::', 'ipv6');
local.addAddress('::1', 'ipv6');
local.addSubnet('fe80::', 10, 'ipv6');
local.addSubnet('ff00::', 8, 'ipv6');
local.addSubnet('64:ff9b::', 96, 'ipv6');

/** Whether an address is loopback, link-local, unspecified or multicast, also as an IPv6-mapped one. */
export function isLocalAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 0) return false;
  return local.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

type LookupCallback = (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void;

/** A `lookup` for connections that finds no local address, whatever a name resolves to. */
export function guardedLookup(hostname: string, options: LookupOptions, callback: LookupCallback): void {
  resolve(hostname, { ...options, all: true }, (error, found) => {
    if (error) return callback(error, []);
    const allowed = found.filter(({ address }) => !isLocalAddress(address));
    const first = allowed[0];
    if (!first) return callback(Object.assign(new Error(`"${hostname}" leads to this node itself`), { code: 'EADDRNOTAVAIL' }), []);
    if (options.all === true) callback(null, allowed);
    else callback(null, first.address, first.family);
  });
}
