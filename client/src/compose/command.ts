import { GantryError } from '@gantry/common';
import { text } from './scalars.ts';
import { list, type Read } from './shape.ts';
import { splitWords } from './words.ts';

const longest = 128 * 1024;
const words = list(text('text', undefined, longest), 'words', 4096);

/** `command` and `entrypoint`: a list of words, or a line that is split as a shell splits it. Empty means none. */
export const commandLine: Read<string[]> = (value, context) => {
  if (value.kind === 'scalar' && value.text === undefined) return [];
  if (value.kind !== 'scalar') return words(value, context);
  const line = text('a line or a list of words', undefined, longest)(value, context);
  if (line === undefined) return undefined;
  try {
    return splitWords(line);
  } catch (error) {
    return context.problems.refuse(value.at, `cannot read "${value.path}": ${GantryError.from(error).message}`);
  }
};
