import { Command, Option } from 'commander';
import { version } from '../version.ts';
import { define, switchOption, type Tools, toolsFor } from './command.ts';
import { adminCommands } from './program-admin.ts';
import { changeCommands } from './program-change.ts';
import { lookCommands } from './program-look.ts';
import type { GlobalOptions } from './session.ts';

function localCommands(root: Command): void {
  for (const [script, summary] of [
    ['up', 'a cluster of several hosts on this machine, with the demo'],
    ['down', 'remove it again'],
    ['doctor', 'what this machine gives and what is missing'],
  ] as const) {
    define(root, { usage: `${script} [option...]`, summary, examples: script === 'up' ? ['up', 'up --nodes 5 --no-demo'] : [script] })
      .allowUnknownOption()
      .action(async (args: string[]) => {
        process.exitCode = (await import('./commands/local.ts')).local(script, args);
      });
  }
}

function otherCommands(root: Command, { run }: Tools): void {
  define(root, {
    usage: 'version',
    summary: 'version of this client, and of the control plane with --server',
    options: [switchOption('--server', 'also ask the control plane')],
    examples: ['version', 'version --server'],
  }).action(async ({ server }: { server: boolean }) => {
    process.stdout.write(`gantry ${version}\n`);
    if (server) await run(async (client) => (await import('./commands/version.ts')).serverVersion(client));
  });
  define(root, {
    usage: 'completion <shell>',
    summary: 'print a completion script',
    arguments: { shell: 'bash, zsh or fish' },
    examples: ['completion bash > /etc/bash_completion.d/gantry', 'completion fish | source'],
  }).action(async (shell: string) => {
    const { completion } = await import('./completion.ts');
    process.stdout.write(completion(shell, root));
  });
}

/**
 * The whole command line; every command's code is loaded when it runs.
 * @param makeTools how actions get their client; tests give one of their own.
 */
export function program(makeTools: (globals: () => GlobalOptions) => Tools = toolsFor): Command {
  const root = new Command('gantry')
    .description('Places single-process Linux containers on a fleet of hosts and keeps them there.')
    .addOption(new Option('--context-file <file>', 'how to reach the cluster [GANTRY_CONTEXT]'))
    .addOption(new Option('-n, --namespace <name>', 'namespace to work in'))
    .version(version, '--version', 'the version of this client')
    .enablePositionalOptions()
    .showSuggestionAfterError();
  const tools = makeTools(() => root.opts<GlobalOptions>());
  localCommands(root);
  changeCommands(root, tools);
  lookCommands(root, tools);
  adminCommands(root, tools);
  otherCommands(root, tools);
  return root;
}
