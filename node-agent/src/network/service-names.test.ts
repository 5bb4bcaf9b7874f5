import { Endpoint, Port, ServiceEndpoints, ServiceKey } from '@gantry/proto';
import { expect, test } from 'vitest';
import { ServiceNames } from './service-names.ts';

/** A service "namespace/app/name" whose ready containers have these addresses, slots from 1. */
function service(key: string, addresses: readonly string[], aliases: string[] = []): ServiceEndpoints {
  const [namespace = '', app = '', name = ''] = key.split('/');
  return ServiceEndpoints.create({
    key: ServiceKey.create({ namespace, app, service: name }),
    endpoints: addresses.map((address, index) => Endpoint.create({ containerId: `c${index}`, address, slot: index + 1 })),
    ports: [Port.create({ target: 80, published: 8080 })],
    aliases,
  });
}

const names = new ServiceNames('gantry.internal', [
  service('default/shop/web', ['10.0.0.1', '10.0.1.1']),
  service('default/shop/db', [], ['database']),
  service('default/blog/web', ['10.0.2.1']),
  service('other/shop/web', ['10.9.9.9']),
]);
const shop = { namespace: 'default', app: 'shop' };

test.each([
  ['web', ['10.0.0.1', '10.0.1.1']],
  ['WEB.', ['10.0.0.1', '10.0.1.1']],
  ['web.shop', ['10.0.0.1', '10.0.1.1']],
  ['web.blog', ['10.0.2.1']],
  ['web.blog.gantry.internal', ['10.0.2.1']],
  ['Web.Blog.Gantry.Internal.', ['10.0.2.1']],
  ['2.web', ['10.0.1.1']],
  ['2.web.shop', ['10.0.1.1']],
  ['1.web.blog.gantry.internal', ['10.0.2.1']],
  ['3.web', []],
  ['db', []],
  ['database', []],
])('a container of the app finds %s', (name, addresses) => {
  expect(names.resolve(name, shop)).toEqual({ kind: 'addresses', addresses });
});

test.each(['nothing', 'x.shop.gantry.internal', 'gantry.internal', 'a.b.c.d.gantry.internal', '0.web.shop.gantry.internal', ''])(
  'the name %j is unknown',
  (name) => {
    expect(names.resolve(name, shop)).toEqual({ kind: 'unknown' });
  },
);

test.each(['example.com', 'web.shop.example.com', 'www.web.blog.shop', 'gantry.internal.example.com', 'xgantry.internal'])(
  'the name %s is somebody else’s',
  (name) => {
    expect(names.resolve(name, shop)).toEqual({ kind: 'foreign' });
  },
);

test('names never cross namespaces', () => {
  expect(names.resolve('web.shop', { namespace: 'other', app: 'blog' })).toEqual({ kind: 'addresses', addresses: ['10.9.9.9'] });
  expect(names.resolve('web.blog.gantry.internal', { namespace: 'other', app: 'shop' })).toEqual({ kind: 'unknown' });
});

test('who is no container asks with the app in the name, in the default namespace', () => {
  expect(names.resolve('web.shop.gantry.internal')).toEqual({ kind: 'addresses', addresses: ['10.0.0.1', '10.0.1.1'] });
  expect(names.resolve('web')).toEqual({ kind: 'unknown' });
});
