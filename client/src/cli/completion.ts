import { Code, GantryError } from '@gantry/common';
import type { Command } from 'commander';

const shells = ['bash', 'zsh', 'fish'] as const;

/** What may follow a command: its subcommands and its options. */
interface Words {
  /** "" for the program itself, "node", "node drain". */
  path: string;
  words: string[];
}

function collect(command: Command, path: string): Words[] {
  const options = command.options.flatMap((option) => (option.long ? [option.long] : []));
  const names = command.commands.map((one) => one.name());
  const inner = command.commands.flatMap((one) => collect(one, path === '' ? one.name() : `${path} ${one.name()}`));
  return [{ path, words: [...names, ...options] }, ...inner];
}

const bash = (lines: readonly Words[]): string => `_gantry() {
  local path="" word index
  for ((index = 1; index < COMP_CWORD; index++)); do
    word=\${COMP_WORDS[index]}
    [[ $word == -* ]] || path="\${path:+$path }$word"
  done
  local words=""
  case "$path" in
${lines
  .map(({ path, words }) => `    "${path}"${path === '' ? '' : ` | "${path} "*`}) words="${words.join(' ')}" ;;`)
  .toReversed()
  .join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _gantry gantry
`;

const zsh = (lines: readonly Words[]): string => `#compdef gantry
autoload -U +X bashcompinit && bashcompinit
${bash(lines)}`;

function fish(lines: readonly Words[]): string {
  const rules = lines.flatMap(({ path, words }) => {
    const commands = words.filter((word) => !word.startsWith('-'));
    const flags = words.filter((word) => word.startsWith('--')).map((word) => word.slice(2));
    const [first, second] = path.split(' ');
    const seen = [first, second].filter(Boolean).map((word) => `__fish_seen_subcommand_from ${word}`);
    const when = path === '' ? '__fish_use_subcommand' : seen.join('; and ');
    return [
      ...(commands.length > 0 ? [`complete -c gantry -n '${when}' -f -a '${commands.join(' ')}'`] : []),
      ...flags.map((flag) => `complete -c gantry -n '${when}' -l ${flag}`),
    ];
  });
  return `${rules.join('\n')}\n`;
}

/** A script that completes commands and options; made from the commands themselves. */
export function completion(shell: string, root: Command): string {
  const lines = collect(root, '');
  switch (shell) {
    case 'bash':
      return bash(lines);
    case 'zsh':
      return zsh(lines);
    case 'fish':
      return fish(lines);
    default:
      throw new GantryError(Code.invalidArgument, `cannot complete for "${shell}": must be ${shells.join(', ')}`);
  }
}
