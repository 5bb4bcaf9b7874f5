import { Code } from '@gantry/common';
import { type ContainerSpec, Limits, Resources, type ServiceSpec, Ulimit } from '@gantry/proto';
import { expect, test } from 'vitest';
import { anAssignment } from '../reconcile/fake-node.ts';
import { type BundleInput, buildSpec } from './bundle.ts';
import { containerPaths } from './paths.ts';

const image = {
  entrypoint: ['/entry'],
  cmd: ['serve', '--all'],
  env: ['PATH=/opt/bin', 'MODE=image', 'broken'],
  workingDir: '/srv',
  user: '',
  stopSignal: '',
  labels: {},
  exposedPorts: [],
  volumes: [],
  architecture: 'amd64',
  os: 'linux',
};

function build(container: Partial<ContainerSpec> = {}, service: Partial<ServiceSpec> = {}, changes: Partial<BundleInput> = {}) {
  return buildSpec({
    assignment: anAssignment('1f2e3d4c5b6a', { reservation: Resources.create({ cpuMillis: 250 }) }, service, container),
    paths: containerPaths({ dataDir: '/var/lib/gantry', runDir: '/run/gantry' }, '1f2e3d4c5b6a'),
    image,
    layers: ['/layers/top', '/layers/base'],
    user: { uid: 0, gid: 0, home: '/root' },
    cgroupsPath: '/gantry/1f2e3d4c5b6a',
    netnsPath: '/run/netns/x',
    mounts: [],
    etc: [{ target: '/etc/hosts', source: '/host/hosts' }],
    disks: ['8:0', '254:16'],
    ...changes,
  });
}

test.each<[string, Partial<ContainerSpec>, string[]]>([
  ['the image alone', {}, ['/entry', 'serve', '--all']],
  ['a command replaces CMD', { command: ['check'] }, ['/entry', 'check']],
  ['an entrypoint drops CMD', { entrypoint: ['/other'] }, ['/other']],
  ['both', { entrypoint: ['/other'], command: ['x'] }, ['/other', 'x']],
])('command line: %s', (_name, container, expected) => {
  expect(build(container).process.args).toEqual(expected);
});

test('an image without a command needs one from the service', () => {
  expect(() => build({}, {}, { image: { ...image, entrypoint: [], cmd: [] } })).toThrow(
    expect.objectContaining({ code: Code.invalidArgument }),
  );
});

test('the environment is the defaults, then the image, then the service', () => {
  const { env, cwd } = build({ environment: { MODE: 'service', EMPTY: '' }, tty: true }).process;
  expect(env).toEqual(['PATH=/opt/bin', 'HOSTNAME=1f2e3d4c5b6a', 'HOME=/root', 'TERM=xterm', 'MODE=service', 'EMPTY=']);
  expect(cwd).toBe('/srv');
});

test('a container holds no more than the default capabilities, no new privileges, and the default filter', () => {
  const { process, annotations, linux } = build();
  expect(process.noNewPrivileges).toBe(true);
  expect(process.capabilities?.bounding).not.toContain('CAP_NET_RAW');
  expect(process.capabilities?.bounding).toContain('CAP_CHOWN');
  expect(process.capabilities?.effective).toEqual(process.capabilities?.bounding);
  expect(annotations['dev.gantry.seccomp']).toBe('default');
  expect(linux.maskedPaths).toContain('/proc/kcore');
  expect(linux.readonlyPaths).toContain('/proc/sys');
  expect(linux.namespaces.map(({ type }) => type).sort()).toEqual(['cgroup', 'ipc', 'mount', 'network', 'pid', 'uts']);
});

test('a user other than root holds only what it was given by name', () => {
  const user = { uid: 1000, gid: 1000, home: '/' };
  expect(build({}, {}, { user }).process.capabilities?.effective).toEqual([]);
  expect(build({ capAdd: ['net_admin'] }, {}, { user }).process.capabilities?.effective).toEqual(['CAP_NET_ADMIN']);
});

test('capabilities are dropped and added by name', () => {
  expect(build({ capDrop: ['ALL'], capAdd: ['CHOWN', 'CAP_KILL'] }).process.capabilities?.bounding).toEqual(['CAP_CHOWN', 'CAP_KILL']);
  const all = build({ capAdd: ['ALL'], capDrop: ['SYS_ADMIN'] }).process.capabilities?.bounding;
  expect(all).toHaveLength(40);
  expect(all).not.toContain('CAP_SYS_ADMIN');
  expect(() => build({ capAdd: ['EVERYTHING'] })).toThrow('cannot read cap_add "EVERYTHING"');
});

test('security options are read strictly', () => {
  expect(build({ securityOpt: ['seccomp=unconfined', 'no-new-privileges:false'] })).toMatchObject({ process: { noNewPrivileges: false } });
  expect(build({ securityOpt: ['seccomp:unconfined'] }).annotations).not.toHaveProperty('dev.gantry.seccomp');
  expect(() => build({ securityOpt: ['apparmor=x'] })).toThrow('cannot use security_opt "apparmor=x"');
});

test('limits become what the kernel takes, I/O limits on every disk', () => {
  const limits = Limits.create({ cpuMillis: 1500, memoryBytes: 2 ** 30, pids: 50, ioReadBytesPerSecond: 1e6, ioWeight: 300 });
  const { resources } = build({}, { limits }).linux;
  expect(resources.cpu).toEqual({ shares: 256, period: 100_000, quota: 150_000 });
  expect(resources.memory).toEqual({ limit: 2 ** 30 });
  expect(resources.pids).toEqual({ limit: 50 });
  expect(resources.blockIO).toEqual({
    weight: 300,
    throttleReadBpsDevice: [
      { major: 8, minor: 0, rate: 1e6 },
      { major: 254, minor: 16, rate: 1e6 },
    ],
  });
  expect(resources.devices?.[0]).toEqual({ allow: false, access: 'rwm' });
});

test('without limits there is still one for processes', () => {
  const { resources } = build().linux;
  expect(resources.pids).toEqual({ limit: 4096 });
  expect(resources).not.toHaveProperty('memory');
  expect(resources).not.toHaveProperty('blockIO');
});

test("the user's own mount of an /etc file wins", () => {
  const own = { destination: '/etc/hosts', type: 'bind' as const, source: '/mine', options: ['bind'] };
  const { mounts } = build({}, {}, { mounts: [own] });
  expect(mounts.filter(({ destination }) => destination === '/etc/hosts')).toEqual([own]);
  expect(build().mounts.find(({ destination }) => destination === '/etc/hosts')?.options).toContain('ro');
});

test('layers, writable layer, init and limits of processes are handed to the runtime', () => {
  const spec = build({ init: true, readOnly: true, ulimits: [Ulimit.create({ name: 'nofile', soft: 100, hard: 200 })] });
  expect(spec.annotations).toMatchObject({
    'dev.gantry.rootfs.lower': '/layers/top:/layers/base',
    'dev.gantry.rootfs.upper': '/var/lib/gantry/containers/1f2e3d4c5b6a/upper',
    'dev.gantry.init': 'true',
  });
  expect(spec.root).toEqual({ path: '/run/gantry/rootfs', readonly: true });
  expect(spec.process.rlimits).toEqual([{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }]);
});
