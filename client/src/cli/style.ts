import { stripVTControlCharacters } from 'node:util';
import { ContainerHealth, ContainerState } from '@gantry/proto';
import pc from 'picocolors';

/** Colours that picocolors turns off without a terminal or with NO_COLOR. */
export const style = pc;

/** Text of a remote end without control characters: it must not move the cursor or change colours. */
export function plain(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/\p{Cc}/gu, (character) => (character === '\n' || character === '\t' ? character : ''));
}

function nameOf(values: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(values).find((key) => values[key] === value) ?? String(value);
}

const colours: Readonly<Record<string, (text: string) => string>> = {
  running: pc.green,
  complete: pc.green,
  ready: pc.green,
  failed: pc.red,
  rejected: pc.red,
  lost: pc.red,
  pending: pc.yellow,
  preparing: pc.yellow,
  starting: pc.yellow,
  assigned: pc.yellow,
  stopping: pc.yellow,
};

/** The state with its health when it has one: "running", "running (unhealthy)". */
export function stateText(state: ContainerState, health: ContainerHealth): string {
  const name = nameOf(ContainerState, state);
  const coloured = (colours[name] ?? ((text: string) => text))(name);
  if (health === ContainerHealth.none || state !== ContainerState.running) return coloured;
  return `${coloured} (${nameOf(ContainerHealth, health).replace('_', ' ')})`;
}

/** A word in the colour of its meaning. */
export function coloured(word: string): string {
  return (colours[word] ?? ((text: string) => text))(word);
}

export { nameOf };
