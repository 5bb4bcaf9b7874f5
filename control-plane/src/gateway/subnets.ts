import { Code, GantryError } from '@gantry/common';

/** An IPv4 range: its first address as a number and the length of its prefix. */
export interface Range {
  readonly base: number;
  readonly prefix: number;
}

/** Length of a node's prefix: 254 addresses, less the bridge's. */
const nodePrefix = 24;

/** @throws GantryError invalidArgument unless the text is an IPv4 range whose host bits are zero. */
export function parseRange(text: string): Range {
  const refuse = () =>
    new GantryError(Code.invalidArgument, `cannot read range "${text}": must be an IPv4 range with no host bits set, such as 10.64.0.0/12`);
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  if (!match) throw refuse();
  const parts = match.slice(1, 5).map(Number);
  const prefix = Number(match[5]);
  const base = parts.reduce((sum, part) => sum * 256 + part, 0);
  if (parts.some((part) => part > 255) || prefix > 32 || base % 2 ** (32 - prefix) !== 0) throw refuse();
  return { base, prefix };
}

/** "10.64.3.0/24" */
export function formatRange({ base, prefix }: Range): string {
  return `${[24, 16, 8, 0].map((shift) => Math.floor(base / 2 ** shift) % 256).join('.')}/${prefix}`;
}

/**
 * The lowest node subnet of the cluster's range that is not taken.
 * @throws GantryError resourceExhausted when all are.
 */
export function lowestFreeSubnet(cluster: Range, taken: ReadonlySet<string>): string {
  const count = 2 ** Math.max(0, nodePrefix - cluster.prefix);
  for (let index = 0; index < count; index++) {
    const subnet = formatRange({ base: cluster.base + index * 2 ** (32 - nodePrefix), prefix: nodePrefix });
    if (!taken.has(subnet)) return subnet;
  }
  throw new GantryError(
    Code.resourceExhausted,
    `cannot give a subnet: all ${count} of ${formatRange(cluster)} are taken; remove nodes that are gone`,
  );
}
