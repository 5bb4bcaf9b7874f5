import { parseDuration } from '@gantry/common';
import { Command, Option } from 'commander';
import { version } from '../version.ts';
import { formats, parseFormat } from './format.ts';
import { administration, localCommands } from './program-admin.ts';
import { type GlobalOptions, interrupt, withClient } from './session.ts';

const formatOption = (): Option => new Option('-o, --output <format>', 'how to print').choices([...formats]).default('table');

/** Commands that list print in this format. */
const formatOf = (options: { output?: string }) => parseFormat(options.output ?? 'table');

function examples(command: Command, lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  $ gantry ${line}`).join('\n')}`);
}

async function interruptible(action: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const { signal, release } = interrupt();
  try {
    const code = await action(signal);
    if (typeof code === 'number') process.exitCode = code;
  } finally {
    release();
  }
}

/** Microseconds since the epoch of "5m" (ago) or an ISO time. */
function timeOption(text: string | undefined): number {
  if (text === undefined) return 0;
  const at = /^\d{4}-/.test(text) ? Date.parse(text) * 1000 : Date.now() * 1000 - parseDuration(text);
  return Math.round(at);
}

function lists(root: Command, globals: () => GlobalOptions): void {
  const load = () => import('./commands/list.ts');
  examples(root.command('ps').argument('[target]', 'app, service or container').description('containers: state, restarts and reasons'), [
    'ps',
    'ps demo/web -o wide',
    'ps -o json',
  ])
    .addOption(formatOption())
    .option('-a, --all', 'also those that ended', false)
    .action((target: string | undefined, options: { output: string; all: boolean }) =>
      withClient(globals(), async (client) => (await load()).ps(client, target, formatOf(options), options.all)),
    );
  examples(root.command('services').description('services: what was asked for and what is ready'), ['services', 'services -o wide'])
    .addOption(formatOption())
    .action((options: { output: string }) => withClient(globals(), async (client) => (await load()).services(client, formatOf(options))));
  examples(root.command('nodes').description('nodes: state and reservations in four dimensions'), ['nodes', 'nodes -o wide'])
    .addOption(formatOption())
    .action((options: { output: string }) => withClient(globals(), async (client) => (await load()).nodes(client, formatOf(options))));
  examples(root.command('top').description('what is used now'), ['top', 'top nodes', 'top services -o json'])
    .addArgument(root.createArgument('[kind]', 'what to measure').choices(['nodes', 'services', 'containers']).default('containers'))
    .addOption(formatOption())
    .action((kind: 'nodes' | 'services' | 'containers', options: { output: string }) =>
      withClient(globals(), async (client) => (await load()).top(client, kind, formatOf(options))),
    );
  examples(root.command('events').argument('[target]', 'app, service or container').description('what happened'), [
    'events',
    'events -f demo/web',
  ])
    .addOption(formatOption())
    .option('-f, --follow', 'go on with what happens', false)
    .action((target: string | undefined, options: { output: string; follow: boolean }) =>
      interruptible((signal) =>
        withClient(globals(), async (client) =>
          (await load()).events(client, target, formatOf(options), options.follow ? { signal } : undefined),
        ),
      ),
    );
}

function manifests(root: Command, globals: () => GlobalOptions): void {
  const load = () => import('./commands/apply.ts');
  examples(
    root
      .command('apply')
      .description('make an app what its Compose file says; exit code 0 done, 1 error, 2 rolled back, 3 not placed, 4 deadline'),
    ['apply -f compose.yaml', 'apply -f compose.yaml --detach', 'apply -f - --timeout 1m < compose.yaml'],
  )
    .requiredOption('-f, --file <file>', 'the Compose file, - for standard input')
    .option('--detach', 'do not wait until it runs', false)
    .option('--timeout <duration>', 'longest wait', '5m')
    .action((options: { file: string; detach: boolean; timeout: string }) =>
      interruptible((signal) =>
        withClient(globals(), async (client) =>
          (await load()).apply(client, { ...options, timeoutMs: parseDuration(options.timeout) / 1000, signal }),
        ),
      ),
    );
  examples(
    root.command('plan').description('what an apply would change and where it would go; exit code 0 no change, 10 changes, 1 error'),
    ['plan -f compose.yaml'],
  )
    .requiredOption('-f, --file <file>', 'the Compose file, - for standard input')
    .action((options: { file: string }) =>
      interruptible(() => withClient(globals(), async (client) => (await load()).plan(client, options.file))),
    );
}

function looking(root: Command, globals: () => GlobalOptions): void {
  examples(root.command('why').argument('<target>', 'service or container').description('why it stands where it stands, or has no place'), [
    'why demo/web',
    'why demo/web.1',
  ])
    .addOption(formatOption())
    .action((target: string, options: { output: string }) =>
      withClient(globals(), async (client) => (await import('./commands/why.ts')).why(client, target, formatOf(options))),
    );
  examples(
    root.command('logs').argument('<target>', 'app, service or container').description('output of all its containers in time order'),
    ['logs demo/web', 'logs -f --tail 10 demo', 'logs --since 5m demo/web.1'],
  )
    .option('-f, --follow', 'go on with what is written', false)
    .option('--since <time>', 'from then on: 5m (ago) or an ISO time')
    .option('--until <time>', 'up to then')
    .option('--tail <lines>', 'only so many from the end', Number, 0)
    .option('-t, --timestamps', 'the time before each line', false)
    .action((target: string, options: { follow: boolean; since?: string; until?: string; tail: number; timestamps: boolean }) =>
      interruptible((signal) =>
        withClient(globals(), async (client) => {
          const { logs } = await import('./commands/logs.ts');
          await logs(client, target, { ...options, since: timeOption(options.since), until: timeOption(options.until), signal }).catch(
            (error: unknown) => {
              if (!signal.aborted) throw error;
            },
          );
        }),
      ),
    );
  examples(
    root
      .command('exec')
      .argument('<target>', 'container or service')
      .argument('<command...>', 'command and arguments')
      .description('run a command in a container'),
    ['exec demo/web.1 -- ls /', 'exec -it demo/web.1 -- sh'],
  )
    .option('-i, --stdin', 'pass standard input', false)
    .option('-t, --tty', 'give it a terminal', false)
    .option('-e, --env <pair...>', 'NAME=VALUE for the command')
    .option('-u, --user <user>', 'as this user', '')
    .option('-w, --workdir <folder>', 'in this folder', '')
    .passThroughOptions()
    .action(
      async (
        target: string,
        command: string[],
        options: { stdin: boolean; tty: boolean; env?: string[]; user: string; workdir: string },
      ) => {
        const { exec } = await import('./commands/exec.ts');
        const environment = Object.fromEntries(
          (options.env ?? []).map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
        );
        process.exitCode = await withClient(globals(), (client) =>
          exec(client, target, command, { ...options, environment, workingDir: options.workdir }),
        );
      },
    );
  examples(root.command('inspect').argument('<target>', 'app, service or container').description('the whole record'), [
    'inspect demo/web',
    'inspect demo/web.1 -o yaml',
  ])
    .addOption(formatOption())
    .action((target: string, options: { output: string }) =>
      withClient(globals(), async (client) => (await import('./commands/change.ts')).inspect(client, target, formatOf(options))),
    );
}

function changes(root: Command, globals: () => GlobalOptions): void {
  const load = () => import('./commands/change.ts');
  examples(root.command('scale').argument('<service=n...>', 'how many of which').description('change the number of replicas'), [
    'scale demo/web=5',
    'scale demo/web=5 demo/app=3',
  ]).action((pairs: string[]) =>
    interruptible((signal) => withClient(globals(), async (client) => (await load()).scale(client, pairs, signal))),
  );
  examples(root.command('restart').argument('<service>').description('new containers for all, by the update policy'), [
    'restart demo/web',
  ]).action((name: string) =>
    interruptible((signal) => withClient(globals(), async (client) => (await load()).restart(client, name, signal))),
  );
  examples(root.command('stop').argument('<container>').description('stop one container; its service replaces it'), [
    'stop demo/web.1',
  ]).action((name: string) => withClient(globals(), async (client) => (await load()).stop(client, name)));
  examples(
    root.command('rm').argument('<target...>', 'apps or services').description('remove apps or services with all their containers'),
    ['rm demo', 'rm demo/web', 'rm --volumes demo'],
  )
    .option('--volumes', 'also the named volumes and what is on them', false)
    .option('-y, --yes', 'do not ask', false)
    .action((names: string[], options: { volumes: boolean; yes: boolean }) =>
      interruptible((signal) =>
        withClient(globals(), async (client) => {
          const { remove } = await load();
          if (!options.yes && process.stdin.isTTY) await confirm(`remove ${names.join(', ')}?`);
          for (const name of names) await remove(client, name, { volumes: options.volumes, signal });
        }),
      ),
    );
  const rollout = root.command('rollout').description('look at and steer the rollout of a service');
  rollout
    .command('status')
    .argument('<service>')
    .description('how far it is')
    .action((name: string) => withClient(globals(), async (client) => (await load()).rolloutStatus(client, name)));
  rollout
    .command('history')
    .argument('<service>')
    .description('revisions, newest first')
    .addOption(formatOption())
    .action((name: string, options: { output: string }) =>
      withClient(globals(), async (client) => (await load()).history(client, name, formatOf(options))),
    );
  rollout
    .command('undo')
    .argument('<service>')
    .description('go back to the revision before, or to one that is named')
    .option('--to-revision <n>', 'the revision', Number, 0)
    .action((name: string, options: { toRevision: number }) =>
      interruptible((signal) => withClient(globals(), async (client) => (await load()).undo(client, name, options.toRevision, signal))),
    );
  for (const action of ['pause', 'resume'] as const) {
    rollout
      .command(action)
      .argument('<service>')
      .description(`${action} it`)
      .action((name: string) => withClient(globals(), async (client) => (await load()).steer(client, name, action)));
  }
}

async function confirm(question: string): Promise<void> {
  const { createInterface } = await import('node:readline/promises');
  const { Code, GantryError } = await import('@gantry/common');
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${question} [y/N] `);
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new GantryError(Code.cancelled, 'nothing was changed');
}

/** The whole command line; every command's code is loaded when it runs. */
export function program(): Command {
  const root = new Command('gantry')
    .description('Places single-process Linux containers on a fleet of hosts and keeps them there.')
    .option('--context-file <file>', 'how to reach the cluster [GANTRY_CONTEXT]')
    .option('-n, --namespace <name>', 'namespace to work in')
    .version(version, '--version', 'the version of this client')
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .configureHelp({ sortSubcommands: false });
  const globals = (): GlobalOptions => root.opts();
  manifests(root, globals);
  lists(root, globals);
  looking(root, globals);
  changes(root, globals);
  administration(root, { globals, formatOption, formatOf, interruptible });
  localCommands(root, globals);
  return root;
}
