/** A number in 0..1e-9 from seed and name: decides between equal nodes, the same way each time, whatever the order they came in. */
export function tieBreak(seed: number, name: string): number {
  let hash = (seed ^ 0x811c9dc5) >>> 0;
  for (let index = 0; index < name.length; index++) hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
  hash = (hash ^ (hash >>> 12)) >>> 0;
  return (hash / 2 ** 32) * 1e-9;
}
