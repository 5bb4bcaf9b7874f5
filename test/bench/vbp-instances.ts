import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** Items to be packed into as few equal bins as can be. */
export interface Instance {
  readonly name: string;
  /** Capacity of a bin by dimension. */
  readonly capacity: readonly number[];
  /** Sizes of each item by dimension, in the order of the file. */
  readonly items: readonly (readonly number[])[];
  /** Fewest bins that hold them all. */
  readonly optimum: number;
}

const folder = join(import.meta.dirname, 'data', 'vector-bin-packing');
const block = 512;

/** The files of a tar archive by name, their folders left out. */
function* filesOf(archive: Buffer): IterableIterator<{ name: string; text: string }> {
  for (let at = 0; at + block <= archive.length && archive[at] !== 0; ) {
    const field = (from: number, length: number) => archive.toString('latin1', at + from, at + from + length).replace(/\0.*$/s, '');
    const size = Number.parseInt(field(124, 12), 8);
    const start = at + block;
    const name = field(0, 100);
    if (size > 0) yield { name: name.slice(name.lastIndexOf('/') + 1), text: archive.toString('latin1', start, start + size) };
    at = start + Math.ceil(size / block) * block;
  }
}

function parse(text: string): Pick<Instance, 'capacity' | 'items'> {
  const numbers = text.trim().split(/\s+/).map(Number);
  let at = 0;
  const take = (count: number) => {
    at += count;
    return numbers.slice(at - count, at);
  };
  const dimensions = take(1)[0]!;
  const capacity = take(dimensions);
  const items: number[][] = [];
  for (let kinds = take(1)[0]!; kinds > 0; kinds--) {
    const sizes = take(dimensions);
    for (let count = take(1)[0]!; count > 0; count--) items.push(sizes);
  }
  return { capacity, items };
}

/** All instances of which the optimum is known, by name. */
export function readInstances(): Instance[] {
  const lines = readFileSync(join(folder, 'New_base_OPT.csv'), 'utf8').trim().split('\n').slice(1);
  const optima = new Map(lines.map((line) => line.split('\t')).map(([name, , optimum]) => [name!, Number(optimum)]));
  const instances: Instance[] = [];
  for (const { name: file, text } of filesOf(gunzipSync(readFileSync(join(folder, 'New_instances.tar.gz'))))) {
    const name = file.replace(/\.vbp$/, '');
    const optimum = optima.get(name) ?? -1;
    if (optimum > 0) instances.push({ name, optimum, ...parse(text) });
  }
  return instances.sort((a, b) => (a.name < b.name ? -1 : 1));
}
