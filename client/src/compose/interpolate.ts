import { Code, GantryError } from '@gantry/common';

/** Values that `${NAME}` stands for. */
export type Variables = Readonly<Record<string, string | undefined>>;

const deepest = 8;
const longest = 1 << 20;
const nameAt = /[A-Za-z_][A-Za-z0-9_]*/y;
const operatorAt = /:-|:\?|:\+|-|\?|\+/y;

function fail(message: string, hint?: string): never {
  throw new GantryError(Code.invalidArgument, message, hint === undefined ? {} : { details: { hint } });
}

function match(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

/** Offset of the brace that closes the one opened before `from`. */
function closing(text: string, from: number): number {
  let open = 1;
  for (let index = from; index < text.length; index++) {
    if (text[index] === '{' && text[index - 1] === '$') open++;
    else if (text[index] === '}' && --open === 0) return index;
  }
  return fail(`cannot read "${shown(text)}": "\${" must be closed by "}"`, 'write $$ for a dollar sign');
}

function shown(text: string): string {
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}

/**
 * Puts variables into a text: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}`,
 * `${NAME?message}`, `${NAME:+instead}`, `${NAME+instead}`; `$$` is a dollar sign. With a colon, empty counts as unset.
 * @throws GantryError invalidArgument when a variable without a default is not set, or the form is wrong.
 */
export function interpolate(text: string, variables: Variables, depth = 0): string {
  if (!text.includes('$')) return text;
  if (depth > deepest) fail(`cannot read "${shown(text)}": variables must be nested at most ${deepest} deep`);
  let result = '';
  let index = 0;
  while (index < text.length) {
    const dollar = text.indexOf('$', index);
    if (dollar < 0) break;
    result += text.slice(index, dollar);
    if (result.length > longest) fail('cannot put variables in: the text must stay below 1 MiB');
    const next = text[dollar + 1];
    if (next === '$') {
      result += '$';
      index = dollar + 2;
    } else if (next === '{') {
      const end = closing(text, dollar + 2);
      result += expand(text.slice(dollar + 2, end), variables, depth);
      index = end + 1;
    } else {
      const name = match(nameAt, text, dollar + 1);
      if (name === undefined) fail(`cannot read "${shown(text)}": "$" must be followed by a variable's name`, 'write $$ for a dollar sign');
      result += expand(name, variables, depth);
      index = dollar + 1 + name.length;
    }
  }
  return result + text.slice(index);
}

/** The value of what stands between the braces. */
function expand(body: string, variables: Variables, depth: number): string {
  const name = match(nameAt, body, 0);
  if (name === undefined) return fail(`cannot read "\${${shown(body)}}": must begin with a variable's name`, 'write $$ for a dollar sign');
  const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
  if (name.length === body.length) {
    return value ?? fail(`cannot read variable "${name}": must be set, found nothing`, `set it, or give a default: \${${name}:-value}`);
  }
  const operator = match(operatorAt, body, name.length);
  if (operator === undefined) {
    return fail(`cannot read "\${${shown(body)}}": the name must be followed by "}", ":-", "-", ":?", "?", ":+" or "+"`);
  }
  const rest = body.slice(name.length + operator.length);
  const present = value !== undefined && !(operator.startsWith(':') && value === '');
  switch (operator.at(-1)) {
    case '-':
      return present ? value : interpolate(rest, variables, depth + 1);
    case '+':
      return present ? interpolate(rest, variables, depth + 1) : '';
    default:
      return present ? value : fail(`cannot read variable "${name}": ${interpolate(rest, variables, depth + 1) || 'must be set'}`);
  }
}
