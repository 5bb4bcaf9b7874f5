import { Endpoint, EndpointMap, ServiceEndpoints, ServiceKey } from '@gantry/proto';
import { expect, test } from 'vitest';
import { EndpointTable } from './endpoint-table.ts';

function service(name: string, address: string, removed = false): ServiceEndpoints {
  const key = ServiceKey.create({ namespace: 'default', app: 'shop', service: name });
  return ServiceEndpoints.create({ key, endpoints: [Endpoint.create({ address })], removed });
}

function map(version: number, snapshot: boolean, ...services: ServiceEndpoints[]): EndpointMap {
  return EndpointMap.create({ version, snapshot, services });
}

const stateOf = (table: EndpointTable) =>
  Object.fromEntries([...table.services()].map(({ key, endpoints }) => [key?.service, endpoints[0]?.address]));

test('partial maps change what they name, complete ones replace everything', () => {
  const table = new EndpointTable();
  table.take(map(1, true, service('a', '1'), service('b', '2')));
  table.take(map(2, false, service('b', '3'), service('c', '4'), service('a', '', true)));
  expect(stateOf(table)).toEqual({ b: '3', c: '4' });
  table.take(map(3, true, service('d', '5')));
  expect(stateOf(table)).toEqual({ d: '5' });
  expect(table.version).toBe(3);
});

test('an older partial map is ignored, a complete one of another control plane is not', () => {
  const table = new EndpointTable();
  table.take(map(5, true, service('a', '1')));
  expect(table.take(map(4, false, service('a', '2')))).toBe(false);
  expect(stateOf(table)).toEqual({ a: '1' });
  expect(table.take(map(2, true, service('a', '3')))).toBe(true);
  expect(stateOf(table)).toEqual({ a: '3' });
});
