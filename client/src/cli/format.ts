import { Code, GantryError } from '@gantry/common';

/** How listings can be printed. */
export const formats = ['table', 'wide', 'json', 'yaml', 'name'] as const;
export type Format = (typeof formats)[number];

export function parseFormat(text: string): Format {
  const format = formats.find((one) => one === text);
  if (!format) throw new GantryError(Code.invalidArgument, `cannot print as "${text}": must be one of ${formats.join(', ')}`);
  return format;
}
