import {
  Affinity,
  AppSpec,
  Autoscale,
  ContainerSpec,
  Dependency,
  FileReference,
  FileSpec,
  Limits,
  Mount,
  MountType,
  Placement,
  Port,
  Probe,
  ProbeType,
  Resources,
  ServiceSpec,
  Ulimit,
  VolumeSpec,
} from '@gantry/proto';
import { expect, test } from 'vitest';
import { validateApp } from './validate.ts';

const service = (init: Partial<ServiceSpec> = {}, container: Partial<ContainerSpec> = {}) =>
  ServiceSpec.create({ name: 'web', replicas: 1, container: ContainerSpec.create({ image: 'x:1', ...container }), ...init });
const app = (init: Partial<AppSpec> = {}) => AppSpec.create({ name: 'shop', services: [service()], ...init });
const withService = (init: Partial<ServiceSpec>, container: Partial<ContainerSpec> = {}) => app({ services: [service(init, container)] });

test('defaults are filled and the given spec stays as it was', () => {
  const given = app();
  const copy = structuredClone(given);
  const valid = validateApp(given);
  expect(given).toEqual(copy);
  expect(valid.namespace).toBe('default');
  expect(valid.services[0]).toMatchObject({
    reservation: { cpuMillis: 100, memoryBytes: 64 << 20 },
    container: { stopGraceUs: 10_000_000 },
  });
});

test('a default reservation never exceeds a limit that is set', () => {
  const valid = validateApp(withService({ limits: Limits.create({ cpuMillis: 50, memoryBytes: 8 << 20 }) }));
  expect(valid.services[0]!.reservation).toMatchObject({ cpuMillis: 50, memoryBytes: 8 << 20 });
});

const refused: readonly (readonly [string, AppSpec, RegExp])[] = [
  ['a name in capitals', app({ name: 'Shop' }), /"name"/],
  ['a namespace that climbs', app({ namespace: '..' }), /"namespace"/],
  ['no services', app({ services: [] }), /"services"/],
  ['a service twice', app({ services: [service(), service()] }), /named once/],
  ['__proto__ as a service', withService({ name: '__proto__' }), /"services.__proto__"/],
  ['no container', withService({ container: null }), /container/],
  ['an image with a space', withService({}, { image: 'a b' }), /image reference/],
  ['an image that is an option', withService({}, { image: '--help' }), /image reference/],
  ['too many replicas', withService({ replicas: 10_001 }), /0 to 10000/],
  ['half a replica', withService({ replicas: 1.5 }), /whole number/],
  ['NaN', withService({ replicas: Number.NaN }), /whole number/],
  ['a number over 2^53', withService({ reservation: Resources.create({ memoryBytes: 2 ** 60 }) }), /reservation.memoryBytes/],
  [
    'a limit under its reservation',
    withService({ reservation: Resources.create({ cpuMillis: 200 }), limits: Limits.create({ cpuMillis: 100 }) }),
    /at least the reservation 200/,
  ],
  ['a NUL byte', withService({}, { command: ['a\0b'] }), /NUL/],
  [
    '__proto__ in the environment',
    withService({}, { environment: JSON.parse('{"__proto__":"x"}') as Record<string, string> }),
    /plain word/,
  ],
  ['65 labels', withService({ labels: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`l${index}`, ''])) }), /at most 64/],
  ['a relative working directory', withService({}, { workingDir: 'here' }), /absolute/],
  ['an unknown signal', withService({}, { stopSignal: 'SIGNOPE' }), /a signal/],
  ['a sysctl of the host', withService({}, { sysctls: { 'kernel.panic': '1' } }), /sysctl/],
  [
    'a soft ulimit over the hard one',
    withService({}, { ulimits: [Ulimit.create({ name: 'nofile', soft: 9, hard: 5 })] }),
    /soft at most hard/,
  ],
  ['port 0', withService({ ports: [Port.create({ target: 0 })] }), /1 to 65535/],
  [
    'one port for two services',
    app({
      services: [
        service({ name: 'a', ports: [Port.create({ target: 1, published: 80 })] }),
        service({ name: 'b', ports: [Port.create({ target: 2, published: 80 })] }),
      ],
    }),
    /already published by "a"/,
  ],
  [
    'a volume that is not declared',
    withService({}, { mounts: [Mount.create({ type: MountType.volume, source: 'data', target: '/d' })] }),
    /volume of the app/,
  ],
  ['a mount over the root', withService({}, { mounts: [Mount.create({ type: MountType.tmpfs, target: '/a/..' })] }), /below \//],
  [
    'a bind that climbs',
    withService({}, { mounts: [Mount.create({ type: MountType.bind, source: '/srv/../etc', target: '/d' })] }),
    /without "\.\."/,
  ],
  ['a config that is not declared', withService({}, { configs: [FileReference.create({ source: 'note', target: '/n' })] }), /declared/],
  ['a config too large', app({ configs: [FileSpec.create({ name: 'note', content: new Uint8Array(600_000) })] }), /at most/],
  ['a probe without a port', withService({}, { health: Probe.create({ type: ProbeType.tcp }) }), /health.port/],
  ['a probe without a command', withService({}, { health: Probe.create({ type: ProbeType.exec }) }), /a command/],
  [
    'a constraint without an operator',
    withService({ placement: Placement.create({ constraints: ['node.labels.disk'] }) }),
    /node.labels.disk == ssd/,
  ],
  [
    'a constraint on nothing that nodes have',
    withService({ placement: Placement.create({ constraints: ['node.rol == x'] }) }),
    /the attribute must be/,
  ],
  [
    'an affinity to a stranger',
    withService({ placement: Placement.create({ affinities: [Affinity.create({ service: 'stranger' })] }) }),
    /affinities.*a service of the app/,
  ],
  [
    'an affinity within no attribute',
    withService({ placement: Placement.create({ affinities: [Affinity.create({ service: 'shop/cache', within: 'zone' })] }) }),
    /within a node attribute/,
  ],
  [
    'a pattern that cannot be read',
    withService({ placement: Placement.create({ constraints: ['node.zone regex (a'] }) }),
    /placement.constraints.*not closed/,
  ],
  ['an autoscale without a target', withService({ autoscale: Autoscale.create({ min: 1, max: 3 }) }), /a target/],
  ['an autoscale with max under min', withService({ autoscale: Autoscale.create({ min: 3, max: 1, cpuPercent: 50 }) }), /from 3/],
  ['an unknown dependency', withService({ dependsOn: [Dependency.create({ service: 'db' })] }), /service of the app/],
  [
    'a cycle',
    app({
      services: [
        service({ name: 'a', dependsOn: [Dependency.create({ service: 'b' })] }),
        service({ name: 'b', dependsOn: [Dependency.create({ service: 'a' })] }),
      ],
    }),
    /a -> b -> a/,
  ],
  ['a volume with a bad name', app({ volumes: [VolumeSpec.create({ name: 'a/b' })] }), /volumes/],
];

test.each(refused)('%s is refused', (_name, spec, message) => expect(() => validateApp(spec)).toThrow(message));
