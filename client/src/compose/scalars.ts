import { isName, parseBytes, parseCpu, parseDuration, parseRate } from '@gantry/common';
import { listed, mustBe, type Read } from './shape.ts';

/** Text of at most `mostBytes` bytes, of the given form. */
export function text(must = 'text', pattern?: RegExp, mostBytes = 4096): Read<string> {
  return (value, context) => {
    if (value.kind !== 'scalar' || value.text === undefined) return mustBe(value, context, must);
    if (Buffer.byteLength(value.text) > mostBytes) {
      const found = `${Buffer.byteLength(value.text)} bytes`;
      return context.problems.refuse(value.at, `cannot read "${value.path}": must be at most ${mostBytes} bytes, found ${found}`);
    }
    if (pattern && !pattern.test(value.text)) return mustBe(value, context, must);
    return value.text;
  };
}

/** A name as DNS has it. */
export const name: Read<string> = (value, context) => {
  if (value.kind === 'scalar' && value.text !== undefined && isName(value.text)) return value.text;
  const hint = value.kind === 'scalar' && value.text?.includes('_') ? `write "${value.text.replaceAll('_', '-').slice(0, 63)}"` : undefined;
  return mustBe(value, context, 'lower-case letters, digits and inner hyphens, at most 63', hint);
};

/** true or false. */
export const flag: Read<boolean> = (value, context) => {
  if (value.kind === 'scalar' && value.text === 'true') return true;
  if (value.kind === 'scalar' && value.text === 'false') return false;
  return mustBe(value, context, 'true or false');
};

export function whole(least: number, most: number): Read<number> {
  return (value, context) => {
    const number = value.kind === 'scalar' && /^-?\d+$/.test(value.text ?? '') ? Number(value.text) : Number.NaN;
    if (number >= least && number <= most) return number;
    return mustBe(value, context, `a whole number from ${least} to ${most}`);
  };
}

/** A share from 0 to 1. */
export const ratio: Read<number> = (value, context) => {
  const number = value.kind === 'scalar' && /^\d*\.?\d+$/.test(value.text ?? '') ? Number(value.text) : Number.NaN;
  return number >= 0 && number <= 1 ? number : mustBe(value, context, 'a share from 0 to 1');
};

/** "60%" or 60, at most `most`. */
export function percent(most: number): Read<number> {
  return (value, context) => {
    const match = value.kind === 'scalar' ? /^(\d+)\s*%?$/.exec(value.text ?? '') : null;
    const number = Number(match?.[1] ?? Number.NaN);
    return number >= 1 && number <= most ? number : mustBe(value, context, `a percentage from 1% to ${most}%`);
  };
}

/** One of some words, with what each means. */
export function oneOf<T>(words: Readonly<Record<string, T>>): Read<T> {
  return (value, context) => {
    if (value.kind === 'scalar' && value.text !== undefined && Object.hasOwn(words, value.text)) return words[value.text];
    return mustBe(value, context, `one of ${listed(Object.keys(words))}`);
  };
}

interface QuantityOptions {
  parse: (text: string) => number;
  must: string;
  least: number;
  most: number;
  leastText: string;
}

function quantity({ parse, must, least, most, leastText }: QuantityOptions): Read<number> {
  return (value, context) => {
    if (value.kind !== 'scalar' || value.text === undefined) return mustBe(value, context, must);
    let amount: number;
    try {
      amount = parse(value.text);
    } catch {
      // the parser's message has no place; ours has
      return mustBe(value, context, must);
    }
    if (amount < least) return mustBe(value, context, `at least ${leastText}`);
    return amount <= most ? amount : mustBe(value, context, `${must}, and less`);
  };
}

const day = 8.64e10;

/** Microseconds. */
export function duration(leastUs = 0, mostUs = day): Read<number> {
  const must = 'a duration such as 500ms, 10s or 1m30s';
  return quantity({ parse: parseDuration, must, least: leastUs, most: mostUs, leastText: `${leastUs / 1000}ms` });
}

/** Bytes; 1 MiB and more unless told otherwise. */
export function bytes(least = 2 ** 20): Read<number> {
  const leastText = least >= 2 ** 20 ? `${least / 2 ** 20}Mi` : `${least}`;
  return quantity({ parse: parseBytes, must: 'a size such as 64M or 1.5G', least, most: 2 ** 52, leastText });
}

/** Thousandths of a core. */
export const cpu: Read<number> = quantity({
  parse: parseCpu,
  must: 'cores such as 0.5 or thousandths such as 250m',
  least: 1,
  most: 1e7,
  leastText: '1m',
});

/** Bytes a second. */
export const rate: Read<number> = quantity({
  parse: parseRate,
  must: 'a rate such as 10MB/s or 80Mbit/s',
  least: 1,
  most: 1e15,
  leastText: '1 byte a second',
});
