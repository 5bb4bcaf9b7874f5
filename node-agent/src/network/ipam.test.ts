import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allocateAddress, contains, formatAddress, gatewayOf, parseAddress, parseSubnet } from './ipam.ts';

describe('subnets', () => {
  test('are read with their base, whatever address stands in the text', () => {
    expect(parseSubnet('10.64.3.17/24')).toEqual({ base: parseAddress('10.64.3.0'), prefix: 24, size: 256 });
  });

  test.each(['', '10.0.0.0', '10.0.0.0/31', '10.0.0.0/0', '10.0.0.256/24', '10.0.0/24', '10.0.0.0/24/1', '::/64', 'a/24'])(
    'are refused when the text is %j',
    (text) => {
      expect(() => parseSubnet(text)).toThrow(/cannot use subnet/);
    },
  );

  test('give their first usable address to the bridge', () => {
    expect(gatewayOf(parseSubnet('10.64.3.0/24'))).toBe('10.64.3.1');
    expect(gatewayOf(parseSubnet('255.255.255.0/24'))).toBe('255.255.255.1');
  });
});

describe('allocation', () => {
  test('goes on after the last one given out and wraps round', () => {
    const subnet = parseSubnet('10.0.0.0/29');
    expect(allocateAddress(subnet, new Set())).toBe('10.0.0.2');
    expect(allocateAddress(subnet, new Set(), '10.0.0.4')).toBe('10.0.0.5');
    expect(allocateAddress(subnet, new Set(['10.0.0.2']), '10.0.0.6')).toBe('10.0.0.3');
    expect(allocateAddress(subnet, new Set(), '192.168.0.1')).toBe('10.0.0.2');
  });

  test('of a full subnet is refused with its size', () => {
    const used = new Set([2, 3, 4, 5, 6].map((last) => `10.0.0.${last}`));
    expect(() => allocateAddress(parseSubnet('10.0.0.0/29'), used)).toThrow('all 5 are in use');
  });

  test('never repeats a used address, the bridge, the network or the broadcast address', () => {
    fc.assert(
      fc.property(fc.nat(0xffffffff), fc.integer({ min: 22, max: 30 }), fc.nat(2000), (address, prefix, taken) => {
        const subnet = parseSubnet(`${formatAddress(address)}/${prefix}`);
        const used = new Set<string>();
        let last: string | undefined;
        for (let count = 0; count < Math.min(taken, subnet.size - 3); count++) {
          last = allocateAddress(subnet, used, last);
          expect(used.has(last)).toBe(false);
          expect(contains(subnet, last)).toBe(true);
          used.add(last);
        }
        expect(used.has(gatewayOf(subnet))).toBe(false);
        expect(used.has(formatAddress(subnet.base))).toBe(false);
        expect(used.has(formatAddress(subnet.base + subnet.size - 1))).toBe(false);
      }),
      { numRuns: 50 },
    );
  });
});
