import { parseDuration } from '@gantry/common';
import type { Command, Option } from 'commander';
import { version } from '../version.ts';
import type { Format } from './format.ts';
import { type GlobalOptions, withClient } from './session.ts';

export interface AdminTools {
  globals: () => GlobalOptions;
  formatOption: () => Option;
  formatOf: (options: { output?: string }) => Format;
  interruptible: (action: (signal: AbortSignal) => Promise<unknown>) => Promise<void>;
}

/** node, token, image and operation: what an operator needs. */
export function administration(root: Command, tools: AdminTools): void {
  nodeCommands(root.command('node').description('look at and change nodes'), tools);
  tokenCommands(root.command('token').description('join tokens for new nodes'), tools);
  otherCommands(root, tools);
}

function nodeCommands(node: Command, { globals, formatOption, formatOf, interruptible }: AdminTools): void {
  const load = () => import('./commands/node.ts');
  node
    .command('ls')
    .description('list nodes')
    .addOption(formatOption())
    .action((options: { output: string }) =>
      withClient(globals(), async (client) => (await import('./commands/list.ts')).nodes(client, formatOf(options))),
    );
  node
    .command('inspect')
    .argument('<node>')
    .description('the whole record')
    .addOption(formatOption())
    .action((name: string, options: { output: string }) =>
      withClient(globals(), async (client) => (await load()).inspectNode(client, name, formatOf(options))),
    );
  node
    .command('label')
    .argument('<node>')
    .argument('<change...>', 'key=value, or key- to remove')
    .description('change labels')
    .action((name: string, pairs: string[]) => withClient(globals(), async (client) => (await load()).label(client, name, pairs)));
  node
    .command('taint')
    .argument('<node>')
    .argument('<change...>', 'key=value:effect, or key- to remove')
    .description('change taints')
    .action((name: string, pairs: string[]) => withClient(globals(), async (client) => (await load()).taint(client, name, pairs)));
  node
    .command('cordon')
    .argument('<node>')
    .description('no new containers on it')
    .action((name: string) => withClient(globals(), async (client) => (await load()).setAvailability(client, name, 'cordoned')));
  node
    .command('uncordon')
    .argument('<node>')
    .description('new containers again')
    .action((name: string) => withClient(globals(), async (client) => (await load()).setAvailability(client, name, 'active')));
  node
    .command('drain')
    .argument('<node>')
    .description('replacements elsewhere first, then stop what is left')
    .option('--detach', 'do not wait', false)
    .option('--deadline <duration>', 'give up after', '10m')
    .action((name: string, options: { detach: boolean; deadline: string }) =>
      interruptible((signal) =>
        withClient(globals(), async (client) =>
          (await load()).drain(client, name, parseDuration(options.deadline), { detach: options.detach, signal }),
        ),
      ),
    );
  node
    .command('rm')
    .argument('<node>')
    .description('forget a node and refuse its certificate')
    .option('--force', 'although it still runs containers', false)
    .action((name: string, options: { force: boolean }) =>
      withClient(globals(), async (client) => (await load()).removeNode(client, name, options.force)),
    );
}

function tokenCommands(token: Command, { globals, formatOption, formatOf }: AdminTools): void {
  const load = () => import('./commands/node.ts');
  token
    .command('create')
    .description('print a token that a new agent joins with')
    .option('--ttl <duration>', 'how long it is valid', '1h')
    .option('--uses <n>', 'how many nodes may join with it', Number, 1)
    .option('--description <text>', 'what it is for', '')
    .action((options: { ttl: string; uses: number; description: string }) =>
      withClient(globals(), async (client) =>
        (await load()).createToken(client, parseDuration(options.ttl), options.uses, options.description),
      ),
    );
  token
    .command('ls')
    .description('list tokens (their secrets are never shown again)')
    .addOption(formatOption())
    .action((options: { output: string }) => withClient(globals(), async (client) => (await load()).listTokens(client, formatOf(options))));
  token
    .command('revoke')
    .argument('<id>')
    .description('make a token worthless')
    .action((id: string) => withClient(globals(), async (client) => (await load()).revokeToken(client, id)));
}

function otherCommands(root: Command, { globals, formatOption, formatOf, interruptible }: AdminTools): void {
  const load = () => import('./commands/more.ts');
  const image = root.command('image').description("images in the nodes' stores");
  image
    .command('ls')
    .description('list images')
    .option('--node <node>', 'of one node', '')
    .addOption(formatOption())
    .action((options: { node: string; output: string }) =>
      withClient(globals(), async (client) => (await load()).images(client, options.node, formatOf(options))),
    );
  image
    .command('pull')
    .argument('<image>')
    .argument('[node...]', 'all nodes when none is named')
    .description('fetch an image beforehand')
    .action((reference: string, nodes: string[]) =>
      interruptible(() => withClient(globals(), async (client) => (await load()).pull(client, reference, nodes))),
    );
  const operation = root.command('operation').description('long work: drains and the like');
  operation
    .command('ls')
    .description('list operations')
    .addOption(formatOption())
    .action((options: { output: string }) => withClient(globals(), async (client) => (await load()).operations(client, formatOf(options))));
  operation
    .command('watch')
    .argument('<id>')
    .description('follow one to its end')
    .action((id: string) =>
      interruptible((signal) =>
        withClient(globals(), async (client) => (await import('./commands/node.ts')).watchOperation(client, id, signal)),
      ),
    );
  operation
    .command('cancel')
    .argument('<id>')
    .description('stop one at its next step')
    .action((id: string) => withClient(globals(), async (client) => (await load()).cancel(client, id)));
}

/** up, down, doctor, version, completion. */
export function localCommands(root: Command, globals: () => GlobalOptions): void {
  const load = () => import('./commands/more.ts');
  for (const [script, text] of [
    ['up', 'a cluster of several hosts on this machine, with the demo'],
    ['down', 'remove it again'],
    ['doctor', 'what this machine gives and what is missing'],
  ] as const) {
    root
      .command(script)
      .description(text)
      .allowUnknownOption()
      .allowExcessArguments()
      .action(async (_options: object, command: Command) => {
        process.exitCode = (await load()).local(script, command.args);
      });
  }
  root
    .command('version')
    .description('version of this client, and of the control plane with --server')
    .option('--server', 'also ask the control plane', false)
    .action(async (options: { server: boolean }) => {
      process.stdout.write(`gantry ${version}\n`);
      if (options.server) await (await load()).serverVersion(globals().contextFile);
    });
  root
    .command('completion')
    .argument('<shell>', 'bash, zsh or fish')
    .description('print a completion script')
    .action(async (shell: string) => {
      const { completion } = await load();
      process.stdout.write(
        completion(
          shell,
          root.commands.map((command) => command.name()),
        ),
      );
    });
}
