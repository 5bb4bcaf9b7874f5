import { ListServicesRequest } from '@gantry/proto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exactly, sleepers, TestCluster } from './harness.ts';

let world: TestCluster;

beforeAll(async () => {
  world = await TestCluster.start({ nodes: 1 });
  await world.apply(sleepers(world.cluster));
  await world.until('it runs', exactly(1));
});
afterAll(() => world?.stop());

const service = (lines: string) => `name: test\nservices:\n  sleeper:\n    image: x/y:1\n${lines.replace(/^/gm, '    ')}\n`;

/** Every row is a manifest that must be refused at a line, changing nothing. */
const rows: readonly (readonly [name: string, manifest: string, line: number])[] = [
  ['not YAML', 'name: [', 1],
  ['a tab as indentation', 'name: test\nservices:\n\tweb: {}\n', 3],
  ['not a mapping', '- a\n- b\n', 1],
  ['empty', '', 1],
  ['no services', 'name: test\n', 1],
  ['unknown top-level key', 'name: test\nservises: {}\n', 2],
  ['unknown service key', service('imagee: z'), 5],
  ['a duplicate key', service('image: z'), 5],
  ['build', service('build: .'), 5],
  ['privileged', service('privileged: true'), 5],
  ['network_mode', service('network_mode: host'), 5],
  ['no image', 'name: test\nservices:\n  sleeper:\n    command: ["x"]\n', 3],
  ['a name in capitals', 'name: test\nservices:\n  Sleeper:\n    image: x\n', 3],
  ['a name of 300 characters', `name: test\nservices:\n  ${'a'.repeat(300)}:\n    image: x\n`, 3],
  ['an app name with a slash', 'name: a/b\nservices: { s: { image: x } }\n', 1],
  ['an app name with a dot', 'name: ..\nservices: { s: { image: x } }\n', 1],
  ['negative replicas', service('deploy: { replicas: -1 }'), 5],
  ['replicas as a word', service('deploy: { replicas: many }'), 5],
  ['half a replica', service('deploy: { replicas: 1.5 }'), 5],
  ['ten million replicas', service('deploy: { replicas: 10000000 }'), 5],
  ['an unknown mode', service('deploy: { mode: swarm }'), 5],
  ['an unknown deploy key', service('deploy: { replica: 1 }'), 5],
  ['a wrong cpu unit', service('deploy: { resources: { reservations: { cpus: "2 cores" } } }'), 5],
  ['a negative cpu', service('deploy: { resources: { reservations: { cpus: "-1" } } }'), 5],
  ['a wrong memory unit', service('deploy: { resources: { limits: { memory: 5Q } } }'), 5],
  ['a negative memory', service('deploy: { resources: { limits: { memory: -5M } } }'), 5],
  ['a reservation above its limit', service('deploy: { resources: { limits: { memory: 5M }, reservations: { memory: 9M } } }'), 5],
  ['a port that is no number', service('ports: ["http:80"]'), 5],
  ['port 0', service('ports: ["0:80"]'), 5],
  ['port 70000', service('ports: ["70000:80"]'), 5],
  ['a negative port', service('ports: ["-1:80"]'), 5],
  ['an unknown protocol', service('ports: ["80:80/sctp"]'), 5],
  ['the same port twice', service('ports: ["80:80", "80:81"]'), 5],
  ['the same port in two services', 'name: test\nservices:\n  a: { image: x, ports: ["80:80"] }\n  b: { image: x, ports: ["80:80"] }\n', 4],
  ['an unknown volume', service('volumes: ["nowhere:/data"]'), 5],
  ['a relative mount target', service('volumes: ["./a:data"]'), 5],
  ['a mount target with ..', service('volumes: ["/srv:/a/../b"]'), 5],
  ['an unknown config', service('configs: [nothing]'), 5],
  ['an unknown secret', service('secrets: [nothing]'), 5],
  ['an unknown dependency', service('depends_on: [nobody]'), 5],
  ['a dependency on itself', service('depends_on: [sleeper]'), 5],
  ['a cycle of dependencies', 'name: test\nservices:\n  a: { image: x, depends_on: [b] }\n  b: { image: x, depends_on: [a] }\n', 3],
  ['an unknown dependency condition', service('depends_on: { sleeper: { condition: maybe } }'), 5],
  ['a health check without a test', service('healthcheck: { interval: 1s }'), 5],
  ['a wrong duration', service('healthcheck: { test: [CMD, x], interval: soon }'), 5],
  ['a negative retry count', service('healthcheck: { test: [CMD, x], retries: -1 }'), 5],
  ['an unknown health key', service('healthcheck: { test: [CMD, x], every: 1s }'), 5],
  ['an unknown restart policy', service('restart: sometimes'), 5],
  ['an unknown signal', service('stop_signal: SIGNOPE'), 5],
  ['a wrong grace period', service('stop_grace_period: 10 apples'), 5],
  ['an unknown capability', service('cap_add: [CAP_FLY]'), 5],
  ['an unknown ulimit', service('ulimits: { wings: 2 }'), 5],
  ['a ulimit with soft above hard', service('ulimits: { nofile: { soft: 9, hard: 5 } }'), 5],
  ['a sysctl of the host', service('sysctls: { kernel.panic: 1 }'), 5],
  ['a user with a colon too many', service('user: "1:2:3"'), 5],
  ['a relative working directory', service('working_dir: here'), 5],
  ['an environment name with =', service('environment: { "A=B": c }'), 5],
  ['a NUL byte', service('command: ["a\\0b"]'), 5],
  ['an autoscale without max', service('x-gantry: { autoscale: { min: 2 } }'), 5],
  ['an autoscale with min above max', service('x-gantry: { autoscale: { min: 5, max: 2, cpu: 50% } }'), 5],
  ['an autoscale target of 0', service('x-gantry: { autoscale: { min: 1, max: 2, cpu: 0% } }'), 5],
  ['an unknown x-gantry key', service('x-gantry: { magic: true }'), 5],
  ['a wrong rate', service('x-gantry: { io: { reservation: fast } }'), 5],
  ['a priority out of range', service('x-gantry: { priority: 5000 }'), 5],
  ['an undefined variable that must be set', service('hostname: @{NOT_SET:?must be set}'.replace('@', '$')), 5],
  ['an unterminated variable', service('hostname: @{NOT_SET'.replace('@', '$')), 5],
  ['a constraint without an operator', service('deploy: { placement: { constraints: ["node.labels.disk"] } }'), 5],
  ['__proto__ as a service', 'name: test\nservices:\n  __proto__: { image: x }\n', 3],
  ['too large', `name: test\n# ${'x'.repeat(10 << 20)}\n`, 1],
];

test('there are at least sixty rows', () => expect(rows.length).toBeGreaterThanOrEqual(60));

test.each(rows)('%s is refused with its place, and nothing changes', async (_name, manifest, line) => {
  const before = await world.services.list(ListServicesRequest.create());
  const { status, stderr } = await world.cli(['apply', '-f', '-'], { input: manifest });
  expect(status, stderr).toBe(1);
  expect(stderr).toMatch(new RegExp(`\\b${line}:\\d+: `));
  const after = await world.services.list(ListServicesRequest.create());
  expect(after.services.map((one) => one.service?.generation)).toEqual(before.services.map((one) => one.service?.generation));
  expect((await world.running()).map((one) => one.name)).toEqual(['test/sleeper.1']);
});
