import { type Command, Option } from 'commander';
import { countOption, define, formatOption, readTime, switchOption, type Tools } from './command.ts';
import type { Format } from './output.ts';

const target = { target: 'app, app/service, service, app/service.slot or the beginning of an id' };

/** Commands that look and change nothing. */
export function lookCommands(root: Command, tools: Tools): void {
  listCommands(root, tools);
  explainCommands(root, tools);
  streamCommands(root, tools);
}

function listCommands(root: Command, { run }: Tools): void {
  const load = () => import('./commands/list.ts');
  define(root, {
    usage: 'ps [target]',
    summary: 'containers: state, restarts and reasons',
    arguments: target,
    options: [switchOption('-a, --all', 'also those that ended'), formatOption()],
    examples: ['ps', 'ps demo/web -o wide', 'ps -o json'],
  }).action((text: string | undefined, { output, all }: { output: Format; all: boolean }) =>
    run(async (client) => (await load()).ps(client, text, output, all)),
  );
  define(root, {
    usage: 'services [app]',
    summary: 'services: what was asked for and what is ready',
    arguments: { app: 'only of this app' },
    options: [formatOption()],
    examples: ['services', 'services demo -o wide'],
  }).action((app: string | undefined, { output }: { output: Format }) =>
    run(async (client) => (await load()).services(client, app, output)),
  );
  define(root, {
    usage: 'nodes',
    summary: 'nodes: state, and what is reserved of what they have',
    options: [formatOption()],
    examples: ['nodes', 'nodes -o wide'],
  }).action(({ output }: { output: Format }) => run(async (client) => (await load()).nodes(client, output)));
  const top = define(root, {
    usage: 'top',
    summary: 'what is used now, the busiest first',
    options: [formatOption()],
    examples: ['top', 'top nodes', 'top services -o json'],
  });
  top
    .addArgument(top.createArgument('[kind]', 'what to measure').choices(['containers', 'services', 'nodes']).default('containers'))
    .action((kind: 'containers' | 'services' | 'nodes', { output }: { output: Format }) =>
      run(async (client) => (await load()).top(client, kind, output)),
    );
}

function explainCommands(root: Command, { run }: Tools): void {
  define(root, {
    usage: 'why <target>',
    summary: 'why it stands where it stands, or has no place',
    arguments: target,
    options: [formatOption()],
    examples: ['why demo/web', 'why demo/web.1'],
  }).action((text: string, { output }: { output: Format }) =>
    run(async (client) => (await import('./commands/why.ts')).why(client, text, output)),
  );
  define(root, {
    usage: 'inspect <target>',
    summary: 'the whole record',
    arguments: target,
    options: [formatOption('json')],
    examples: ['inspect demo/web', 'inspect demo/web.1 -o yaml'],
  }).action((text: string, { output }: { output: Format }) =>
    run(async (client) => (await import('./commands/inspect.ts')).inspect(client, text, output)),
  );
}

interface LogValues {
  follow: boolean;
  since: number;
  until: number;
  tail: number;
  timestamps: boolean;
}

interface ExecValues {
  stdin: boolean;
  tty: boolean;
  env: Record<string, string>;
  user: string;
  workdir: string;
}

function readPair(pair: string, before: Record<string, string>): Record<string, string> {
  const equals = pair.indexOf('=');
  return equals > 0 ? { ...before, [pair.slice(0, equals)]: pair.slice(equals + 1) } : { ...before, [pair]: process.env[pair] ?? '' };
}

function streamCommands(root: Command, { run, runWaiting }: Tools): void {
  define(root, {
    usage: 'events [target]',
    summary: 'what happened',
    arguments: target,
    options: [switchOption('-f, --follow', 'go on with what happens'), formatOption()],
    examples: ['events', 'events -f demo/web', 'events -f -o json'],
  }).action((text: string | undefined, { output, follow }: { output: Format; follow: boolean }) =>
    runWaiting(async ({ client, signal }) =>
      (await import('./commands/events.ts')).events(client, text, output, follow ? signal : undefined),
    ),
  );
  define(root, {
    usage: 'logs <target>',
    summary: 'output of all its containers in time order',
    arguments: target,
    options: [
      switchOption('-f, --follow', 'go on with what is written'),
      new Option('--since <time>', 'from then on: 5m (ago) or an ISO time').argParser(readTime).default(0, 'the beginning'),
      new Option('--until <time>', 'up to then').argParser(readTime).default(0, 'now'),
      countOption('--tail <lines>', 'only so many from the end, 0 for all', 0),
      switchOption('-t, --timestamps', 'the time before each line'),
    ],
    examples: ['logs demo/web', 'logs -f --tail 10 demo', 'logs --since 5m demo/web.1'],
  }).action((text: string, values: LogValues) =>
    runWaiting(async ({ client, signal }) => (await import('./commands/logs.ts')).logs(client, text, { ...values, signal })),
  );
  define(root, {
    usage: 'exec <target> <command...>',
    summary: 'run a command in a container; its exit code becomes ours',
    arguments: {
      target: 'container, or service: its first running container',
      command: 'command and arguments, after -- when they begin with -',
    },
    options: [
      switchOption('-i, --stdin', 'pass standard input on'),
      switchOption('-t, --tty', 'give it a terminal'),
      new Option('-e, --env <pair>', 'NAME=VALUE, or NAME of your own environment; may be repeated')
        .argParser(readPair)
        .default({}, 'none'),
      new Option('-u, --user <user>', 'as this user').default('', "the container's"),
      new Option('-w, --workdir <folder>', 'in this folder').default('', "the container's"),
    ],
    examples: ['exec demo/web.1 -- ls /', 'exec -it demo/web.1 -- sh', 'exec -i demo/data.1 -- sh -c "cat > /data/file" < file'],
  })
    .passThroughOptions()
    .action((text: string, command: string[], { stdin, tty, env, user, workdir }: ExecValues) =>
      run(async (client) => {
        const { exec } = await import('./commands/exec.ts');
        // options behind the target are the command's own, so the parser leaves its "--" in
        const words = command[0] === '--' ? command.slice(1) : command;
        return exec(client, text, words, { stdin, tty, environment: env, user, workingDir: workdir });
      }),
    );
}
