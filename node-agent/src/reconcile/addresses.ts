import { Code, GantryError } from '@gantry/common';
import { allocateAddress, parseSubnet } from '../network/ipam.ts';
import type { NodeNetwork } from '../network/network.ts';
import type { Ledger } from './ledger.ts';

/** Gives containers addresses of the node's subnet; the ledger says which are taken. */
export class Addresses {
  readonly #ledger: Ledger;
  readonly #node: () => NodeNetwork | undefined;
  #last: string | undefined;

  constructor(ledger: Ledger, node: () => NodeNetwork | undefined) {
    this.#ledger = ledger;
    this.#node = node;
  }

  /**
   * The container's own address, kept over restarts, or a free one.
   * @throws GantryError resourceExhausted when the subnet is full, unavailable before there is one.
   */
  addressOf(id: string): string {
    const own = this.#ledger.get(id)?.address;
    if (own) return own;
    const node = this.#node();
    if (!node) throw new GantryError(Code.unavailable, `cannot give "${id}" an address: the node has no subnet yet`);
    const used = new Set<string>();
    for (const record of this.#ledger.records.values()) if (record.phase.kind !== 'removed') used.add(record.address);
    this.#last = allocateAddress(parseSubnet(node.subnet), used, this.#last);
    return this.#last;
  }
}
