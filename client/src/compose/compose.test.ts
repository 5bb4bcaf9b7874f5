// biome-ignore-all lint/suspicious/noTemplateCurlyInString: manifests hold variables
import {
  type AppSpec,
  DependencyCondition,
  MountType,
  PlacementStrategy,
  PortProtocol,
  ProbeType,
  RestartPolicyCondition,
  ServiceSpecDisconnect,
  ServiceSpecMode,
  UpdatePolicyFailureAction,
  UpdatePolicyOrder,
} from '@gantry/proto';
import { expect, test } from 'vitest';
import { examineCompose } from './compose.ts';

const files: Readonly<Record<string, string>> = {
  'a.env': 'A=1\nB="two words" # said\nC=\'$raw\'\nexport D=${SET}\n',
  'note.txt': 'a note',
};
const environment = { SET: 'value', PASSED: 'on', EMPTY: '' };

function read(manifest: string): AppSpec {
  const readFile = (path: string) => {
    if (files[path] === undefined) throw new Error('there is no such file');
    return Buffer.from(files[path]);
  };
  const { app, errors } = examineCompose(manifest, { file: 'compose.yaml', environment, readFile });
  if (!app) throw new Error(errors.map((error) => `${error.details.line}:${error.details.column} ${error.message}`).join('\n'));
  return app;
}

/** The one service of a manifest with these further keys. */
function service(lines: string, top = '') {
  const app = read(`name: shop\n${top}\nservices:\n  web:\n    image: x/y:1\n${lines.replace(/^/gm, '    ')}\n`);
  return app.services[0]!;
}
const container = (lines: string, top = '') => service(lines, top).container!;

test('a service that says only its image is given the defaults', () => {
  const web = service('');
  expect(web).toMatchObject({
    name: 'web',
    mode: ServiceSpecMode.replicated,
    replicas: 1,
    reservation: { cpuMillis: 100, memoryBytes: 64 * 2 ** 20, ioBytesPerSecond: 0, networkBytesPerSecond: 0 },
    limits: { cpuMillis: 0, memoryBytes: 0, pids: 0, ioWeight: 0 },
    restart: { condition: RestartPolicyCondition.any, delayUs: 1e6, maxDelayUs: 3e8, maxAttempts: 0, windowUs: 6e8 },
    update: { parallelism: 1, order: UpdatePolicyOrder.stop_first, failureAction: UpdatePolicyFailureAction.pause },
    rollback: null,
    autoscale: null,
  });
  expect(web.container).toMatchObject({
    image: 'x/y:1',
    stopGraceUs: 1e7,
    logMaxBytes: 10 * 2 ** 20,
    logMaxFiles: 3,
    health: null,
    readiness: null,
  });
});

test('images are named with registry, port, tag and digest', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  for (const image of [
    'x',
    'nginx:1.27',
    '10.1.1.1:5000/gantry/web:1',
    'localhost/x',
    'r.example/a/b_c/d-e.f',
    `x@${digest}`,
    `r:5/x:1@${digest}`,
  ]) {
    expect(read(`name: a\nservices: { s: { image: "${image}" } }`).services[0]!.container!.image).toBe(image);
  }
});

test('command and entrypoint are lists, or lines that are split as a shell does', () => {
  expect(container('command: ["sleep", 86400]').command).toEqual(['sleep', '86400']);
  expect(container(`command: sh -c 'echo "a b"; exec sleep 1'`).command).toEqual(['sh', '-c', 'echo "a b"; exec sleep 1']);
  expect(container('command: a\\ b "" "c \\"d\\"" e\'f\'').command).toEqual(['a b', '', 'c "d"', 'ef']);
  expect(container('entrypoint: /bin/x -v').entrypoint).toEqual(['/bin/x', '-v']);
  expect(container('entrypoint:').entrypoint).toEqual([]);
});

test('environment comes from mapping, list, files and the caller; the manifest wins over files', () => {
  expect(container('environment: { A: 1.10, B: true, C: "", PASSED: }').environment).toEqual({ A: '1.10', B: 'true', C: '', PASSED: 'on' });
  expect(container('environment: [A=1, "B=x=y", PASSED]').environment).toEqual({ A: '1', B: 'x=y', PASSED: 'on' });
  expect(container('env_file: a.env\nenvironment: { A: 2 }').environment).toEqual({ A: '2', B: 'two words', C: '$raw', D: 'value' });
  expect(container('env_file: [{ path: none.env, required: false }, { path: a.env, format: raw }]').environment).toMatchObject({
    D: '${SET}',
  });
});

test('ports are published in short and long form, in ranges, and exposed', () => {
  const { tcp, udp } = PortProtocol;
  expect(service('ports: ["80:8080", "53:53/udp", "90-91:190-191"]').ports).toEqual([
    { published: 80, target: 8080, protocol: tcp },
    { published: 53, target: 53, protocol: udp },
    { published: 90, target: 190, protocol: tcp },
    { published: 91, target: 191, protocol: tcp },
  ]);
  expect(service('ports: [{ target: 80, published: "8080", protocol: udp, mode: ingress }]').ports).toEqual([
    { published: 8080, target: 80, protocol: udp },
  ]);
  expect(service('expose: [80, "81/udp"]').ports).toEqual([
    { published: 0, target: 80, protocol: tcp },
    { published: 0, target: 81, protocol: udp },
  ]);
});

test('one port may be published for tcp and udp', () => {
  expect(service('ports: ["53:53", "53:53/udp"]').ports).toHaveLength(2);
});

test('mounts are volumes, host paths and tmpfs in both forms', () => {
  const top = 'volumes: { data: , logs: { labels: { a: b }, x-gantry: { single_writer: true } } }';
  const { mounts } = container('volumes: ["data:/data", "/srv/x:/x:ro", "/anonymous"]\ntmpfs: ["/t:size=64m,mode=0700", /u]', top);
  expect(
    mounts.map(({ type, source, target, readOnly, tmpfsBytes, tmpfsMode }) => [type, source, target, readOnly, tmpfsBytes, tmpfsMode]),
  ).toEqual([
    [MountType.volume, 'data', '/data', false, 0, 0],
    [MountType.bind, '/srv/x', '/x', true, 0, 0],
    [MountType.volume, '', '/anonymous', false, 0, 0],
    [MountType.tmpfs, '', '/t', false, 64 * 2 ** 20, 0o700],
    [MountType.tmpfs, '', '/u', false, 0, 0],
  ]);
  const long = container(
    'volumes:\n- { type: volume, source: data, target: /d, read_only: true, volume: {} }\n- { type: bind, source: /s, target: /b, bind: {} }\n- { type: tmpfs, target: /t, tmpfs: { size: 1M, mode: 01777 } }\ntmpfs: /one',
    top,
  );
  expect(long.mounts.map((mount) => [mount.type, mount.target, mount.readOnly, mount.tmpfsBytes, mount.tmpfsMode])).toEqual([
    [MountType.volume, '/d', true, 0, 0],
    [MountType.bind, '/b', false, 0, 0],
    [MountType.tmpfs, '/t', false, 2 ** 20, 0o1777],
    [MountType.tmpfs, '/one', false, 0, 0],
  ]);
});

test('configs and secrets come from files, text and variables, and land where they are asked for', () => {
  const app = read(`
name: shop
services:
  web:
    image: x
    configs: [note, { source: text, target: /etc/text, uid: "5", gid: 6, mode: 0440 }]
    secrets: [key, { source: key, target: other }]
configs: { note: { file: note.txt }, text: { content: "is \${SET}, costs $$5" } }
secrets: { key: { environment: SET } }
`);
  expect(app.configs.map(({ name, content }) => [name, Buffer.from(content).toString()])).toEqual([
    ['note', 'a note'],
    ['text', 'is value, costs $5'],
  ]);
  expect(app.secrets.map(({ content }) => Buffer.from(content).toString())).toEqual(['value']);
  expect(app.services[0]!.container!.configs).toEqual([
    { source: 'note', target: '/note', uid: '', gid: '', mode: 0 },
    { source: 'text', target: '/etc/text', uid: '5', gid: '6', mode: 0o440 },
  ]);
  expect(app.services[0]!.container!.secrets.map(({ target }) => target)).toEqual(['/run/secrets/key', '/run/secrets/other']);
});

test('volumes are declared with labels and a single writer', () => {
  const app = read('name: a\nservices: { s: { image: x } }\nvolumes: { one: , two: { labels: [a=b], x-gantry: { single_writer: true } } }');
  expect(app.volumes).toEqual([
    { name: 'one', labels: {}, singleWriter: false },
    { name: 'two', labels: { a: 'b' }, singleWriter: true },
  ]);
});

test('health checks are commands, lines, or switched off', () => {
  const health = (lines: string) => container(`healthcheck: ${lines}`).health;
  expect(health('{ test: ["CMD", "x", "y"], interval: 1s, timeout: 500ms, retries: 5, start_period: 1m30s }')).toEqual({
    type: ProbeType.exec,
    command: ['x', 'y'],
    port: 0,
    path: '',
    intervalUs: 1e6,
    timeoutUs: 5e5,
    retries: 5,
    startPeriodUs: 9e7,
  });
  expect(health('{ test: ["CMD-SHELL", "a || b"] }')).toMatchObject({
    command: ['/bin/sh', '-c', 'a || b'],
    intervalUs: 3e7,
    timeoutUs: 3e7,
    retries: 3,
  });
  expect(health('{ test: "a || b" }')).toMatchObject({ command: ['/bin/sh', '-c', 'a || b'] });
  expect(health('{ test: ["NONE"] }')).toMatchObject({ type: ProbeType.none });
  expect(health('{ disable: true }')).toMatchObject({ type: ProbeType.none });
});

test('readiness and health ask by http, tcp or a command', () => {
  const readiness = (lines: string) => container(`x-gantry: { readiness: ${lines} }`).readiness;
  expect(readiness('{ http: "http://:8080/ready?x=1", interval: 2s }')).toMatchObject({
    type: ProbeType.http,
    port: 8080,
    path: '/ready?x=1',
    intervalUs: 2e6,
    timeoutUs: 1e6,
    retries: 3,
  });
  expect(readiness('{ http: ":80" }')).toMatchObject({ type: ProbeType.http, port: 80, path: '/' });
  expect(readiness('{ tcp: 5432 }')).toMatchObject({ type: ProbeType.tcp, port: 5432 });
  expect(readiness('{ exec: [a, b] }')).toMatchObject({ type: ProbeType.exec, command: ['a', 'b'] });
  expect(readiness('{ exec: "a && b" }')).toMatchObject({ command: ['/bin/sh', '-c', 'a && b'] });
  expect(container('x-gantry: { health: { tcp: 1 } }').health).toMatchObject({ type: ProbeType.tcp, port: 1 });
});

test('everything of the process is passed on', () => {
  const web = container(`
user: "1000:staff"
working_dir: /srv
hostname: web-1.example
read_only: true
init: true
tty: true
stdin_open: true
stop_signal: quit
stop_grace_period: 1m
cap_add: [net_admin, CAP_SYS_TIME]
cap_drop: [ALL]
security_opt: ["no-new-privileges:true", "seccomp:unconfined"]
sysctls: { net.core.somaxconn: 1024 }
ulimits: { nofile: 1024, nproc: { soft: 5, hard: 9 } }
labels: [a=b, c]
logging: { driver: json-file, options: { max-size: "1m", max-file: "5" } }`);
  expect(web).toMatchObject({
    user: '1000:staff',
    workingDir: '/srv',
    hostname: 'web-1.example',
    readOnly: true,
    init: true,
    tty: true,
    stdinOpen: true,
    stopSignal: 'SIGQUIT',
    stopGraceUs: 6e7,
    capAdd: ['CAP_NET_ADMIN', 'CAP_SYS_TIME'],
    capDrop: ['ALL'],
    securityOpt: ['no-new-privileges:true', 'seccomp:unconfined'],
    sysctls: { 'net.core.somaxconn': '1024' },
    ulimits: [
      { name: 'nofile', soft: 1024, hard: 1024 },
      { name: 'nproc', soft: 5, hard: 9 },
    ],
    labels: { a: 'b', c: '' },
    logMaxBytes: 2 ** 20,
    logMaxFiles: 5,
  });
});

test('limits come from the short keys or from deploy; a default reservation stays below them', () => {
  expect(service('cpus: 0.05\nmem_limit: 32m\npids_limit: 100')).toMatchObject({
    limits: { cpuMillis: 50, memoryBytes: 32 * 2 ** 20, pids: 100 },
    reservation: { cpuMillis: 50, memoryBytes: 32 * 2 ** 20 },
  });
  expect(
    service('deploy: { resources: { limits: { cpus: "2", memory: 1.5G, pids: 9 }, reservations: { cpus: 250m, memory: 1Gi } } }'),
  ).toMatchObject({
    limits: { cpuMillis: 2000, memoryBytes: 1.5 * 2 ** 30, pids: 9 },
    reservation: { cpuMillis: 250, memoryBytes: 2 ** 30 },
  });
});

test('block I/O and network are reserved and limited', () => {
  expect(
    service('x-gantry: { io: { reservation: 10MB/s, limit: 40MB/s, weight: 300 }, network: { reservation: 80Mbit/s, limit: 200Mbit/s } }'),
  ).toMatchObject({
    reservation: { ioBytesPerSecond: 1e7, networkBytesPerSecond: 1e7 },
    limits: {
      ioReadBytesPerSecond: 4e7,
      ioWriteBytesPerSecond: 4e7,
      ioWeight: 300,
      networkReceiveBytesPerSecond: 2.5e7,
      networkTransmitBytesPerSecond: 2.5e7,
    },
  });
  expect(
    service('x-gantry: { io: { limit: { read: 1MB/s, write_operations: 50 } }, network: { limit: { transmit: 8Mbit/s } } }').limits,
  ).toMatchObject({
    ioReadBytesPerSecond: 1e6,
    ioWriteBytesPerSecond: 0,
    ioWriteOperationsPerSecond: 50,
    networkReceiveBytesPerSecond: 0,
    networkTransmitBytesPerSecond: 1e6,
  });
  const blkio =
    'blkio_config: { weight: 300, device_read_bps: [{ path: /dev/sda, rate: 12mb }], device_write_iops: [{ path: /dev/sda, rate: 30 }] }';
  expect(service(blkio).limits).toMatchObject({ ioWeight: 300, ioReadBytesPerSecond: 12e6, ioWriteOperationsPerSecond: 30 });
});

test('deploy says how many, where, and how to roll', () => {
  const web = service(`
deploy:
  mode: replicated
  replicas: 5
  labels: { tier: front }
  placement:
    constraints: ["node.labels.disk == ssd", "node.arch in amd64,arm64", "node.labels.gpu not-exists", "node.kernel version >= 6.1, < 7", 'node.zone regex ^eu-[0-9]$$']
    preferences: [{ spread: node.labels.zone }]
    max_replicas_per_node: 2
  update_config: { parallelism: 0, delay: 5s, order: start-first, failure_action: rollback, monitor: 10s, max_failure_ratio: 0.2 }
  rollback_config: { parallelism: 2, failure_action: continue }
  restart_policy: { condition: on-failure, delay: 2s, max_attempts: 3, window: 1m }
x-gantry: { strategy: spread, tolerations: ["a=b:no_execute"], progress_deadline: 1m }`);
  expect(web).toMatchObject({
    replicas: 5,
    labels: { tier: 'front' },
    placement: {
      constraints: [
        'node.labels.disk == ssd',
        'node.arch in amd64,arm64',
        'node.labels.gpu not-exists',
        'node.kernel version >= 6.1, < 7',
        'node.zone regex ^eu-[0-9]$',
      ],
      preferences: [{ spread: 'node.labels.zone' }],
      maxReplicasPerNode: 2,
      strategy: PlacementStrategy.spread,
      tolerations: ['a=b:no_execute'],
    },
    update: {
      parallelism: 0,
      delayUs: 5e6,
      order: UpdatePolicyOrder.start_first,
      failureAction: UpdatePolicyFailureAction.rollback,
      monitorUs: 1e7,
      maxFailureRatio: 0.2,
      progressDeadlineUs: 6e7,
    },
    rollback: { parallelism: 2, failureAction: UpdatePolicyFailureAction.proceed },
    restart: { condition: RestartPolicyCondition.on_failure, delayUs: 2e6, maxAttempts: 3, windowUs: 6e7 },
  });
});

test('a global service and jobs have no replicas to say, and jobs do not restart when they succeed', () => {
  expect(service('deploy: { mode: global }')).toMatchObject({ mode: ServiceSpecMode.global, replicas: 0 });
  expect(service('deploy: { mode: replicated-job, replicas: 3 }')).toMatchObject({
    mode: ServiceSpecMode.replicated_job,
    replicas: 3,
    restart: { condition: RestartPolicyCondition.on_failure },
  });
});

test('restart takes the words of Compose', () => {
  const policy = (text: string) => service(`restart: ${text}`).restart;
  expect(policy('"no"')).toMatchObject({ condition: RestartPolicyCondition.none });
  expect(policy('no')).toMatchObject({ condition: RestartPolicyCondition.none });
  expect(policy('always')).toMatchObject({ condition: RestartPolicyCondition.any });
  expect(policy('unless-stopped')).toMatchObject({ condition: RestartPolicyCondition.any });
  expect(policy('on-failure:5')).toMatchObject({ condition: RestartPolicyCondition.on_failure, maxAttempts: 5 });
});

test('affinities are names, or say within what and whether they must hold', () => {
  const { placement } = service(`
x-gantry:
  affinity: [shop/cache, { service: web, within: node.zone, required: true }]
  anti_affinity: [{ service: web }]`);
  expect(placement!.affinities).toEqual([
    { service: 'shop/cache', within: '', apart: false, required: false },
    { service: 'web', within: 'node.zone', apart: false, required: true },
    { service: 'web', within: '', apart: true, required: false },
  ]);
});

test('x-gantry says what Compose cannot', () => {
  const web = service(`
x-gantry:
  autoscale: { min: 2, max: 6, cpu: 60%, memory: 70, stabilization: 2m, scale_up_stabilization: 5s, tolerance: 5% }
  priority: -5
  reclaimable: true
  disconnect: stop
  drain: 2s
  user_namespace: true`);
  expect(web).toMatchObject({
    replicas: 2,
    autoscale: {
      min: 2,
      max: 6,
      cpuPercent: 60,
      memoryPercent: 70,
      stabilizationUs: 1.2e8,
      scaleUpStabilizationUs: 5e6,
      tolerancePercent: 5,
    },
    priority: -5,
    reclaimable: true,
    disconnect: ServiceSpecDisconnect.stop,
    drainUs: 2e6,
    container: { userNamespace: true },
  });
});

test('dependencies and networks are named in both forms', () => {
  const app = read(`
name: shop
services:
  a: { image: x, depends_on: [b], networks: [front] }
  b: { image: x, depends_on: { c: { condition: service_healthy }, d: { condition: service_completed_successfully, required: true } } }
  c: { image: x, networks: { front: { aliases: [see] }, default: } }
  d: { image: x }
networks: { front: }
`);
  expect(app.services[0]!.dependsOn).toEqual([{ service: 'b', condition: DependencyCondition.service_started }]);
  expect(app.services[1]!.dependsOn.map(({ condition }) => condition)).toEqual([
    DependencyCondition.service_healthy,
    DependencyCondition.service_completed_successfully,
  ]);
  expect(app.services[2]!.aliases).toEqual(['see']);
});

test('anchors and merge keys share what services have in common; their own keys win', () => {
  const app = read(`
name: shop
x-common: &common
  image: x
  restart: always
  environment: &env { A: "1", B: "2" }
services:
  a: *common
  b:
    <<: *common
    image: y
    environment: { <<: *env, B: "3" }
  c:
    <<: [{ image: z }, *common]
`);
  expect(app.services.map((one) => one.container!.image)).toEqual(['x', 'y', 'z']);
  expect(app.services[1]!.container!.environment).toEqual({ A: '1', B: '3' });
});

test('variables are put into values, with defaults and alternatives', () => {
  const word = (text: string) => container(`command: ["${text}"]`).command[0];
  expect(word('$SET-${SET}')).toBe('value-value');
  expect(word('${NOT_SET:-a}${EMPTY:-b}${EMPTY-c}')).toBe('ab');
  expect(word('${NOT_SET:-${ALSO_NOT:-deep}}')).toBe('deep');
  expect(word('${SET:+yes}${EMPTY:+no}${EMPTY+yes}')).toBe('yesyes');
  expect(word('$$SET costs $$5')).toBe('$SET costs $5');
  expect(service('deploy: { replicas: "${N:-3}" }').replicas).toBe(3);
});

test('relics and what has no effect are warned of, with their place', () => {
  const manifest = 'version: "3.8"\nname: a\nservices: { s: { image: x } }\nnetworks: { a: , b: }\n';
  const { app, warnings } = examineCompose(manifest, { file: 'c.yaml', environment: {}, readFile: () => Buffer.from('') });
  expect(app).toBeDefined();
  expect(warnings.map((line) => line.slice(0, 18))).toEqual(['c.yaml:1:10: versi', 'c.yaml:4:1: networ']);
});
