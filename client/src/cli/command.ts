import { GantryError, parseDuration } from '@gantry/common';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { GantryClient } from '../gantry-client.ts';
import { type Format, formats } from './output.ts';
import { type GlobalOptions, interruptible, withClient } from './session.ts';

/** A command as it is declared: once, for parsing and for its help. */
export interface CommandSpec {
  /** Name and arguments, "ps [target]". */
  usage: string;
  summary: string;
  /** What the arguments mean, by their names. */
  arguments?: Readonly<Record<string, string>>;
  options?: readonly Option[];
  /** Without the leading "gantry". */
  examples: readonly [string, ...string[]];
}

/** Adds a command; each of them shows examples. */
export function define(parent: Command, spec: CommandSpec): Command {
  const [name = '', ...parameters] = spec.usage.split(' ');
  const command = parent.command(name).description(spec.summary);
  for (const parameter of parameters) command.argument(parameter, spec.arguments?.[parameter.replaceAll(/[<>[\].]/g, '')] ?? '');
  for (const option of spec.options ?? []) command.addOption(option);
  return command.addHelpText('after', `\nExamples:\n${spec.examples.map((line) => `  $ gantry ${line}`).join('\n')}`);
}

/** What an action may use; the signal aborts at the first Ctrl-C. */
interface ActionContext {
  client: GantryClient;
  signal: AbortSignal;
}

/** Runs an action with a client; the number it gives becomes the exit code. */
type Run = (action: (client: GantryClient) => Promise<unknown>) => Promise<void>;
/** As Run, for actions that wait or follow: Ctrl-C aborts their signal. */
type RunWaiting = (action: (context: ActionContext) => Promise<unknown>) => Promise<void>;

export interface Tools {
  run: Run;
  runWaiting: RunWaiting;
}

function setExitCode(code: unknown): void {
  if (typeof code === 'number') process.exitCode = code;
}

export function toolsFor(globals: () => GlobalOptions): Tools {
  return {
    run: async (action) => setExitCode(await withClient(globals(), action)),
    runWaiting: async (action) =>
      setExitCode(await interruptible((signal) => withClient(globals(), (client) => action({ client, signal })))),
  };
}

function readAs<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(GantryError.from(error).message);
    }
  };
}

const duration = readAs(parseDuration);

/** A duration; its value is in microseconds. */
export function durationOption(flags: string, help: string, standard: string): Option {
  return new Option(flags, help).argParser(duration).default(parseDuration(standard), standard);
}

/** A whole number from 0. */
export function countOption(flags: string, help: string, standard: number): Option {
  const parse = (text: string): number => {
    if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('must be a whole number.');
    return Number(text);
  };
  return new Option(flags, help).argParser(parse).default(standard);
}

export function switchOption(flags: string, help: string): Option {
  return new Option(flags, help).default(false);
}

export function formatOption(standard: Format = 'table'): Option {
  return new Option('-o, --output <format>', 'how to print').choices([...formats]).default(standard);
}

/** --detach and --timeout of the commands that wait. */
export function waitOptions(standard = '5m'): Option[] {
  return [switchOption('--detach', 'do not wait'), durationOption('--timeout <duration>', 'longest wait', standard)];
}

export interface WaitValues {
  detach: boolean;
  /** Microseconds. */
  timeout: number;
}

/** A time as microseconds since the epoch: "5m" is that long ago, else an ISO time. */
export const readTime = readAs((text: string): number => {
  if (!/^\d{4}-/.test(text)) return Math.round(Date.now() * 1000 - parseDuration(text));
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw new InvalidArgumentError('must be a duration such as 5m, or a time such as 2026-01-31T12:00:00Z.');
  return at * 1000;
});
