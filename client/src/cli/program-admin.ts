import { type Command, Option } from 'commander';
import { countOption, define, durationOption, formatOption, switchOption, type Tools } from './command.ts';
import type { Format } from './output.ts';

const node = { node: "the node's name" };

/** node, token, image and operation: what an operator needs. */
export function adminCommands(root: Command, tools: Tools): void {
  const nodes = root.command('node').description('look at and change nodes');
  nodeCommands(nodes, tools);
  availabilityCommands(nodes, tools);
  tokenCommands(root.command('token').description('join tokens for new nodes'), tools);
  imageCommands(root.command('image').description("images in the nodes' stores"), tools);
  operationCommands(root.command('operation').description('long work: drains and the like'), tools);
}

function nodeCommands(root: Command, { run }: Tools): void {
  const load = () => import('./commands/node.ts');
  define(root, {
    usage: 'ls',
    summary: 'list nodes',
    options: [formatOption()],
    examples: ['node ls', 'node ls -o wide'],
  }).action(({ output }: { output: Format }) => run(async (client) => (await import('./commands/list.ts')).nodes(client, output)));
  define(root, {
    usage: 'inspect <node>',
    summary: 'the whole record',
    arguments: node,
    options: [formatOption('json')],
    examples: ['node inspect n1', 'node inspect n1 -o yaml'],
  }).action((name: string, { output }: { output: Format }) => run(async (client) => (await load()).inspectNode(client, name, output)));
  define(root, {
    usage: 'label <node> <change...>',
    summary: 'change labels',
    arguments: { ...node, change: 'key=value, or key- to remove' },
    examples: ['node label n1 disk=ssd zone=a', 'node label n1 disk-'],
  }).action((name: string, changes: string[]) => run(async (client) => (await load()).label(client, name, changes)));
  define(root, {
    usage: 'taint <node> <change...>',
    summary: 'change taints: what services must stand to be placed there',
    arguments: { ...node, change: 'key=value:effect or key:effect (no-schedule, prefer-no-schedule, no-execute), or key- to remove' },
    examples: ['node taint n1 gpu:no-schedule', 'node taint n1 gpu-'],
  }).action((name: string, changes: string[]) => run(async (client) => (await load()).taint(client, name, changes)));
}

function availabilityCommands(root: Command, { run, runWaiting }: Tools): void {
  const load = () => import('./commands/node.ts');
  define(root, { usage: 'cordon <node>', summary: 'no new containers on it', arguments: node, examples: ['node cordon n1'] }).action(
    (name: string) => run(async (client) => (await load()).setAvailability(client, name, 'cordoned')),
  );
  define(root, { usage: 'uncordon <node>', summary: 'new containers again', arguments: node, examples: ['node uncordon n1'] }).action(
    (name: string) => run(async (client) => (await load()).setAvailability(client, name, 'active')),
  );
  define(root, {
    usage: 'drain <node>',
    summary: 'replacements elsewhere first, then stop what is left; exit code 0 done, 1 failed',
    arguments: node,
    options: [switchOption('--detach', 'do not wait'), durationOption('--deadline <duration>', 'give up after', '10m')],
    examples: ['node drain n1', 'node drain n1 --deadline 2m'],
  }).action((name: string, { detach, deadline }: { detach: boolean; deadline: number }) =>
    runWaiting(async ({ client, signal }) => (await load()).drain(client, name, deadline, { detach, signal })),
  );
  define(root, {
    usage: 'rm <node>',
    summary: 'forget a node and refuse its certificate',
    arguments: node,
    options: [switchOption('--force', 'although it still runs containers')],
    examples: ['node rm n1'],
  }).action((name: string, { force }: { force: boolean }) => run(async (client) => (await load()).removeNode(client, name, force)));
}

function tokenCommands(root: Command, { run }: Tools): void {
  const load = () => import('./commands/token.ts');
  define(root, {
    usage: 'create',
    summary: 'print a token that a new agent joins with',
    options: [
      durationOption('--ttl <duration>', 'how long it is valid', '1h'),
      countOption('--uses <n>', 'how many nodes may join with it', 1),
      new Option('--description <text>', 'what it is for').default('', 'nothing'),
      formatOption(),
    ],
    examples: ['token create', 'token create --uses 10 --ttl 24h --description "rack 4"'],
  }).action(({ ttl, uses, description, output }: { ttl: number; uses: number; description: string; output: Format }) =>
    run(async (client) => (await load()).createToken(client, { ttlUs: ttl, uses, description, format: output })),
  );
  define(root, {
    usage: 'ls',
    summary: 'list tokens (their secrets are never shown again)',
    options: [formatOption()],
    examples: ['token ls'],
  }).action(({ output }: { output: Format }) => run(async (client) => (await load()).listTokens(client, output)));
  define(root, {
    usage: 'revoke <id>',
    summary: 'make a token worthless',
    arguments: { id: 'as token ls shows it' },
    examples: ['token revoke 1f2e3d'],
  }).action((id: string) => run(async (client) => (await load()).revokeToken(client, id)));
}

function imageCommands(root: Command, { run }: Tools): void {
  const load = () => import('./commands/image.ts');
  define(root, {
    usage: 'ls',
    summary: 'list images',
    options: [new Option('--node <node>', 'of one node').default('', 'all'), formatOption()],
    examples: ['image ls', 'image ls --node n1'],
  }).action(({ node: name, output }: { node: string; output: Format }) =>
    run(async (client) => (await load()).images(client, name, output)),
  );
  define(root, {
    usage: 'pull <image> [node...]',
    summary: 'fetch an image beforehand',
    arguments: { image: 'its reference', node: 'all nodes when none is named' },
    examples: ['image pull registry.example/team/web:2', 'image pull registry.example/team/web:2 n1 n2'],
  }).action((reference: string, nodes: string[]) => run(async (client) => (await load()).pull(client, reference, nodes)));
}

function operationCommands(root: Command, { run, runWaiting }: Tools): void {
  const load = () => import('./commands/operation.ts');
  const id = { id: 'as operation ls shows it' };
  define(root, { usage: 'ls', summary: 'list operations', options: [formatOption()], examples: ['operation ls'] }).action(
    ({ output }: { output: Format }) => run(async (client) => (await load()).operations(client, output)),
  );
  define(root, { usage: 'watch <id>', summary: 'follow one to its end', arguments: id, examples: ['operation watch 0190…'] }).action(
    (name: string) => runWaiting(async ({ client, signal }) => (await load()).watchOperation(client, name, signal)),
  );
  define(root, { usage: 'cancel <id>', summary: 'stop one at its next step', arguments: id, examples: ['operation cancel 0190…'] }).action(
    (name: string) => run(async (client) => (await load()).cancel(client, name)),
  );
}
