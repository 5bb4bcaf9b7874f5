import { Code, GantryError } from './errors.ts';

const binary: Record<string, number> = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40, p: 2 ** 50 };
const decimal: Record<string, number> = { k: 1e3, m: 1e6, g: 1e9, t: 1e12, p: 1e15 };
const bytePattern = /^(\d+(?:\.\d+)?)\s*(?:([kmgtp])?(i)?b?)$/i;

function refuse(kind: string, text: string, must: string): never {
  throw new GantryError(Code.invalidArgument, `cannot read ${kind} "${text}": must be ${must}`);
}

function whole(kind: string, text: string, value: number): number {
  const rounded = Math.round(value);
  if (!Number.isSafeInteger(rounded)) refuse(kind, text, 'below 2^53');
  return rounded;
}

/** Bytes of "64Mi", "64m", "1.5g", "512kb", "1024". Units without i are binary, as in Compose. */
export function parseBytes(text: string): number {
  const match = bytePattern.exec(text.trim());
  if (!match) return refuse('size', text, 'a number with a unit such as 64Mi or 1.5g');
  return whole('size', text, Number(match[1]) * (match[2] ? binary[match[2].toLowerCase()]! : 1));
}

/** Bytes a second of "10MB/s", "10mb", "1Mi/s", "80Mbit/s", "1048576". Without i, and in bits, units are decimal. */
export function parseRate(text: string): number {
  const bare = text.trim().replace(/(\/s|ps)$/i, '');
  const bits = /^(\d+(?:\.\d+)?)\s*([kmgt])?bit$/i.exec(bare);
  if (bits) return whole('rate', text, (Number(bits[1]) * (bits[2] ? decimal[bits[2].toLowerCase()]! : 1)) / 8);
  const match = bytePattern.exec(bare);
  if (!match) return refuse('rate', text, 'a rate such as 10MB/s or 80Mbit/s');
  const units = match[3] ? binary : decimal;
  return whole('rate', text, Number(match[1]) * (match[2] ? units[match[2].toLowerCase()]! : 1));
}

/** Thousandths of a core of "250m", "0.5", "2". */
export function parseCpu(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(m)?$/.exec(text.trim());
  if (!match) return refuse('cpu', text, 'cores such as 0.5 or thousandths such as 250m');
  return whole('cpu', text, Number(match[1]) * (match[2] ? 1 : 1000));
}

const durationUnits: Record<string, number> = { us: 1, ms: 1e3, s: 1e6, m: 6e7, h: 3.6e9, d: 8.64e10 };

/** Microseconds of "1m30s", "500ms", "2h". */
export function parseDuration(text: string): number {
  let rest = text.trim();
  let total = 0;
  if (rest === '0') return 0;
  if (rest === '') refuse('duration', text, 'a duration such as 1m30s');
  while (rest !== '') {
    const match = /^(\d+(?:\.\d+)?)(us|ms|s|m|h|d)/.exec(rest);
    if (!match) return refuse('duration', text, 'a duration such as 1m30s');
    total += Number(match[1]) * durationUnits[match[2]!]!;
    rest = rest.slice(match[0].length);
  }
  return whole('duration', text, total);
}

function scaled(value: number, base: number, units: readonly string[]): string {
  let index = 0;
  let rest = value;
  while (rest >= base && index < units.length - 1) {
    rest /= base;
    index++;
  }
  const digits = index === 0 || rest >= 100 ? 0 : 1;
  return `${rest.toFixed(digits).replace(/\.0$/, '')}${units[index]}`;
}

/** "64Mi", "1.5Gi". */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 1024, ['B', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi']);
}

/** "10MB/s". */
export function formatRate(bytesPerSecond: number): string {
  return scaled(bytesPerSecond, 1000, ['B/s', 'kB/s', 'MB/s', 'GB/s', 'TB/s']);
}

/** "250m" below ten cores, "12" from there. */
export function formatCpu(millis: number): string {
  return millis % 1000 === 0 || millis >= 10_000 ? `${Math.round(millis / 100) / 10}` : `${millis}m`;
}

/** "41s", "5m", "3h", "2d": the largest unit that says enough. */
export function formatDuration(us: number): string {
  const seconds = Math.max(0, Math.floor(us / 1e6));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
