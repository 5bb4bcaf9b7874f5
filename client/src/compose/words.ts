import { Code, GantryError } from '@gantry/common';

/**
 * Splits a command line as a POSIX shell would, without expanding anything.
 * @throws GantryError invalidArgument for a quote or a backslash that nothing follows.
 */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let index = 0; index < line.length; index++) {
    const char = line[index]!;
    if (quote === "'") {
      if (char === "'") quote = '';
      else word += char;
    } else if (char === '\\') {
      const next = line[++index];
      if (next === undefined) throw new GantryError(Code.invalidArgument, 'must not end with a backslash');
      // between double quotes a backslash is special before these alone
      word = (word ?? '') + (quote === '"' && !'$`"\\\n'.includes(next) ? `\\${next}` : next);
    } else if (char === quote) {
      quote = '';
    } else if (quote === '' && (char === '"' || char === "'")) {
      quote = char;
      word ??= '';
    } else if (quote === '' && /\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== '') throw new GantryError(Code.invalidArgument, `must close its quote ${quote}`);
  if (word !== undefined) words.push(word);
  return words;
}
