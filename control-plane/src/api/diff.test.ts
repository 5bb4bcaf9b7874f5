import { ContainerSpec, Port, Resources, ServiceChangeKind, ServiceSpec } from '@gantry/proto';
import { expect, test } from 'vitest';
import { containerHash, diffService } from './diff.ts';

const base = ServiceSpec.create({
  name: 'web',
  replicas: 2,
  container: ContainerSpec.create({ image: 'x:1', environment: { A: '1' } }),
  reservation: Resources.create({ cpuMillis: 100 }),
});

test('no difference is unchanged, none before is created, none after is removed', () => {
  expect(diffService(base, structuredClone(base))).toEqual({ kind: ServiceChangeKind.unchanged, fields: [] });
  expect(diffService(undefined, base).kind).toBe(ServiceChangeKind.created);
  expect(diffService(base, undefined).kind).toBe(ServiceChangeKind.removed);
});

test('a change of replicas alone is a scaling and keeps the hash', () => {
  const after = { ...base, replicas: 5 };
  expect(diffService(base, after)).toEqual({ kind: ServiceChangeKind.scaled, fields: [{ path: 'replicas', before: '2', after: '5' }] });
  expect(containerHash(after, {})).toBe(containerHash(base, {}));
});

test('nested changes are named by their path and change the hash', () => {
  const container = ContainerSpec.create({ image: 'x:2', environment: { A: '1', B: '2' } });
  const after = { ...base, container, ports: [Port.create({ target: 80, published: 8080 })] };
  const { kind, fields } = diffService(base, after);
  expect(kind).toBe(ServiceChangeKind.updated);
  expect(fields.toSorted((a, b) => (a.path < b.path ? 1 : -1))).toEqual([
    { path: 'ports[80/tcp>8080]', before: '', after: '{"target":80,"published":8080,"protocol":"tcp"}' },
    { path: 'container.image', before: '"x:1"', after: '"x:2"' },
    { path: 'container.environment.B', before: '', after: '"2"' },
  ]);
  expect(containerHash(after, {})).not.toBe(containerHash(base, {}));
});

test('the order of keys says nothing, the content of a config does', () => {
  const environment = { B: '2', A: '1' };
  const [one, other] = [environment, { A: '1', B: '2' }].map((env) => ({
    ...base,
    container: ContainerSpec.create({ image: 'x:1', environment: env }),
  }));
  expect(containerHash(one!, {})).toBe(containerHash(other!, {}));
  expect(diffService(one, other).fields).toEqual([]);
  expect(containerHash(base, { 'config/a': 'd1' })).not.toBe(containerHash(base, { 'config/a': 'd2' }));
});
