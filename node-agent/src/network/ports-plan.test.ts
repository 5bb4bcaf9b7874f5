import { Endpoint, Port, PortProtocol, ServiceEndpoints, ServiceKey } from '@gantry/proto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { changeScript, type PublishedPorts, publishedPorts, tableScript } from './ports-plan.ts';

interface Given {
  name: string;
  addresses?: readonly string[];
  ports?: readonly [target: number, published: number, protocol?: PortProtocol][];
}

function services(...given: Given[]): ServiceEndpoints[] {
  return given.map(({ name, addresses = ['10.0.0.1'], ports = [[80, 8080]] }) =>
    ServiceEndpoints.create({
      key: ServiceKey.create({ namespace: 'default', app: 'shop', service: name }),
      endpoints: addresses.map((address) => Endpoint.create({ address })),
      ports: ports.map(([target, published, protocol]) => Port.create({ target, published, protocol: protocol ?? PortProtocol.tcp })),
    }),
  );
}

const table = { table: 'gantry', bridge: 'gbr', gateway: '10.0.0.1', subnet: '10.0.0.0/24', clusterCidr: '10.0.0.0/8' };

test('ports without a number on the nodes or without a ready container lead nowhere', () => {
  expect(publishedPorts(services({ name: 'web', ports: [[80, 0]] })).size).toBe(0);
  expect(publishedPorts(services({ name: 'web', addresses: [] })).size).toBe(0);
});

test('tcp and udp are separate, addresses sorted and told once', () => {
  const given = services({
    name: 'web',
    addresses: ['10.0.0.3', '10.0.0.2', '10.0.0.3', ''],
    ports: [
      [80, 53],
      [81, 53, PortProtocol.udp],
    ],
  });
  expect([...publishedPorts(given)]).toEqual([
    ['tcp/53', { protocol: 'tcp', published: 53, target: 80, addresses: ['10.0.0.2', '10.0.0.3'] }],
    ['udp/53', { protocol: 'udp', published: 53, target: 81, addresses: ['10.0.0.2', '10.0.0.3'] }],
  ]);
});

test('of two services with one port the first by name has it on every node, also while it is not ready', () => {
  const [a, b] = services({ name: 'a', addresses: ['10.0.0.9'] }, { name: 'b' });
  for (const order of [
    [a!, b!],
    [b!, a!],
  ])
    expect(publishedPorts(order).get('tcp/8080')?.addresses).toEqual(['10.0.0.9']);
  const [unready] = services({ name: 'a', addresses: [] });
  expect(publishedPorts([b!, unready!]).size).toBe(0);
});

test('the table balances over all addresses and keeps what is not ours', () => {
  const script = tableScript(table, publishedPorts(services({ name: 'web', addresses: ['10.0.0.2', '10.1.0.2'] })));
  expect(script).toContain('dnat to numgen random mod 2 map { 0 : 10.0.0.2, 1 : 10.1.0.2 }:80');
  expect(script).not.toContain('flush ruleset');
});

test('equal ports need no script', () => {
  const ports = publishedPorts(services({ name: 'web' }));
  expect(changeScript('gantry', ports, publishedPorts(services({ name: 'web' })))).toBe('');
});

test('a change touches the changed port only', () => {
  const before = publishedPorts(services({ name: 'a' }, { name: 'b', ports: [[80, 8081]] }));
  const after = publishedPorts(services({ name: 'a' }, { name: 'b', addresses: ['10.0.0.7'], ports: [[80, 8081]] }));
  expect(changeScript('gantry', before, after)).toBe(
    'flush chain ip gantry tcp_8081\nadd rule ip gantry tcp_8081 meta l4proto tcp dnat to 10.0.0.7:80\n',
  );
});

/** What the kernel would hold after a script: rules by chain, and the map's chains by element. */
function replay(scripts: readonly string[]): { chains: Map<string, string>; elements: Map<string, string> } {
  const chains = new Map<string, string>();
  const elements = new Map<string, string>();
  for (const line of scripts.flatMap((script) => script.split('\n')).filter((text) => text !== '')) {
    const [, act, kind, rest] = /^(add|delete|flush) (chain|rule|element) ip gantry (.+)$/.exec(line)!;
    const [, name = '', body = ''] = /^(\S+) ?(.*)$/.exec(rest!)!;
    const [, element = '', chain] = /^{ (\S+ \. \S+)(?: : goto (\S+))? }$/.exec(body) ?? [];
    if (act === 'add' && kind === 'chain') {
      chains.set(name, '');
    } else if (act === 'flush') {
      expect(chains.has(name)).toBe(true);
      chains.set(name, '');
    } else if (act === 'delete' && kind === 'chain') {
      // the kernel refuses to delete a chain that the map still leads to
      expect([...elements.values()]).not.toContain(name);
      expect(chains.delete(name)).toBe(true);
    } else if (kind === 'rule') {
      expect(chains.get(name)).toBe('');
      chains.set(name, body);
    } else if (act === 'delete') {
      expect(elements.delete(element)).toBe(true);
    } else {
      expect(chains.has(chain!)).toBe(true);
      elements.set(element, chain!);
    }
  }
  return { chains, elements };
}

test('any sequence of changes ends where one script from nothing ends', () => {
  const addresses = fc.uniqueArray(fc.integer({ min: 1, max: 4 }).map((last) => `10.0.0.${last}`));
  const ports = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.tuple(addresses, fc.integer({ min: 8080, max: 8083 })));
  const state = ports.map((given) =>
    publishedPorts(
      services(...Object.entries(given).map(([name, [list, published]]): Given => ({ name, addresses: list, ports: [[80, published]] }))),
    ),
  );
  fc.assert(
    fc.property(fc.array(state, { minLength: 1 }), (states) => {
      let former: PublishedPorts = new Map();
      const scripts: string[] = [];
      for (const next of states) {
        scripts.push(changeScript('gantry', former, next));
        former = next;
      }
      expect(replay(scripts)).toEqual(replay([changeScript('gantry', new Map(), former)]));
    }),
  );
});
