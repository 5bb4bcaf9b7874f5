import { createInterface } from 'node:readline/promises';
import { Code, GantryError } from '@gantry/common';
import { type Command, Option } from 'commander';
import { countOption, define, formatOption, switchOption, type Tools, type WaitValues, waitOptions } from './command.ts';
import type { Format } from './output.ts';

const fileOption = (): Option => new Option('-f, --file <file>', 'the Compose file, - for standard input (default: compose.yaml here)');
const exitHelp = 'exit code 0 done, 1 error, 2 rolled back, 3 not placed, 4 deadline';
const service = { service: 'app/service, or service when only one app has it' };

/** Commands that make and change apps and services. */
export function changeCommands(root: Command, tools: Tools): void {
  manifestCommands(root, tools);
  serviceCommands(root, tools);
  rolloutCommands(root.command('rollout').description('look at and steer the rollout of a service'), tools);
}

function manifestCommands(root: Command, { run, runWaiting }: Tools): void {
  define(root, {
    usage: 'apply',
    summary: `make an app what its Compose file says, and wait for it; ${exitHelp}`,
    options: [fileOption(), ...waitOptions()],
    examples: ['apply -f compose.yaml', 'apply -f compose.yaml --detach', 'apply -f - --timeout 1m < compose.yaml'],
  }).action(({ file, detach, timeout }: WaitValues & { file?: string }) =>
    runWaiting(async ({ client, signal }) =>
      (await import('./commands/apply.ts')).apply(client, { file, detach, timeoutMs: timeout / 1000, signal }),
    ),
  );
  define(root, {
    usage: 'plan',
    summary: 'what an apply would change and where it would go; exit code 0 no change, 10 changes, 1 error',
    options: [fileOption(), formatOption()],
    examples: ['plan -f compose.yaml', 'plan -f compose.yaml -o json'],
  }).action(({ file, output }: { file?: string; output: Format }) =>
    run(async (client) => (await import('./commands/plan.ts')).plan(client, file, output)),
  );
}

async function confirm(question: string): Promise<void> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${question} [y/N] `);
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new GantryError(Code.cancelled, 'nothing was changed');
}

function serviceCommands(root: Command, { run, runWaiting }: Tools): void {
  const load = () => import('./commands/change.ts');
  define(root, {
    usage: 'scale <service=n...>',
    summary: `change the number of replicas, and wait for them; ${exitHelp}`,
    arguments: { 'service=n': 'how many of which' },
    options: waitOptions(),
    examples: ['scale demo/web=5', 'scale demo/web=5 demo/app=3'],
  }).action((pairs: string[], { detach, timeout }: WaitValues) =>
    runWaiting(async ({ client, signal }) => (await load()).scale(client, pairs, { detach, timeoutMs: timeout / 1000, signal })),
  );
  define(root, {
    usage: 'restart <service>',
    summary: `new containers for all, by the update policy; ${exitHelp}`,
    arguments: service,
    options: waitOptions(),
    examples: ['restart demo/web'],
  }).action((name: string, { detach, timeout }: WaitValues) =>
    runWaiting(async ({ client, signal }) => (await load()).restart(client, name, { detach, timeoutMs: timeout / 1000, signal })),
  );
  define(root, {
    usage: 'stop <container>',
    summary: 'stop one container; its service replaces it',
    arguments: { container: 'app/service.slot or the beginning of an id' },
    examples: ['stop demo/web.1'],
  }).action((name: string) => run(async (client) => (await load()).stop(client, name)));
  define(root, {
    usage: 'rm <target...>',
    summary: 'remove apps or services with all their containers, and wait until they are gone',
    arguments: { target: 'apps or services' },
    options: [
      switchOption('--volumes', 'also the named volumes and what is on them'),
      switchOption('-y, --yes', 'do not ask'),
      ...waitOptions('2m'),
    ],
    examples: ['rm demo', 'rm demo/web', 'rm --volumes --yes demo'],
  }).action((names: string[], { volumes, yes, detach, timeout }: WaitValues & { volumes: boolean; yes: boolean }) =>
    runWaiting(async ({ client, signal }) => {
      const { remove } = await load();
      if (!yes && process.stdin.isTTY) await confirm(`remove ${names.join(', ')}${volumes ? ' and all that is on their volumes' : ''}?`);
      let worst = 0;
      for (const name of names) worst = Math.max(worst, await remove(client, name, { volumes, detach, timeoutMs: timeout / 1000, signal }));
      return worst;
    }),
  );
}

function rolloutCommands(rollout: Command, { run, runWaiting }: Tools): void {
  const load = () => import('./commands/rollout.ts');
  define(rollout, {
    usage: 'status <service>',
    summary: 'how far it is',
    arguments: service,
    options: [formatOption()],
    examples: ['rollout status demo/web'],
  }).action((name: string, { output }: { output: Format }) => run(async (client) => (await load()).rolloutStatus(client, name, output)));
  define(rollout, {
    usage: 'history <service>',
    summary: 'revisions, newest first',
    arguments: service,
    options: [formatOption()],
    examples: ['rollout history demo/web'],
  }).action((name: string, { output }: { output: Format }) => run(async (client) => (await load()).history(client, name, output)));
  define(rollout, {
    usage: 'undo <service>',
    summary: `go back to the revision before, or to one that is named; ${exitHelp}`,
    arguments: service,
    options: [countOption('--to-revision <n>', 'the revision; 0 is the one before', 0), ...waitOptions()],
    examples: ['rollout undo demo/web', 'rollout undo demo/web --to-revision 3'],
  }).action((name: string, { toRevision, detach, timeout }: WaitValues & { toRevision: number }) =>
    runWaiting(async ({ client, signal }) => {
      const { undo } = await import('./commands/change.ts');
      return undo(client, name, toRevision, { detach, timeoutMs: timeout / 1000, signal });
    }),
  );
  for (const action of ['pause', 'resume'] as const) {
    define(rollout, {
      usage: `${action} <service>`,
      summary: action === 'pause' ? 'hold it: no further container is replaced' : 'let it go on',
      arguments: service,
      examples: [`rollout ${action} demo/web`],
    }).action((name: string) => run(async (client) => (await load()).steer(client, name, action)));
  }
}
