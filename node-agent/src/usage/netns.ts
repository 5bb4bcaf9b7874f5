import { nextLine, numberAt } from './scan.ts';

/** Counters of an interface as the node sees it. */
export interface InterfaceCounters {
  receiveBytes: number;
  receivePackets: number;
  receiveDrops: number;
  transmitBytes: number;
  transmitPackets: number;
  transmitDrops: number;
}

const colon = 0x3a;
const space = 0x20;

/** Calls back for each line of /proc/net/dev; `counters` is the same object each time. */
export function parseNetDev(buffer: Buffer, length: number, visit: (name: string, counters: InterfaceCounters) => void): void {
  const counters = { receiveBytes: 0, receivePackets: 0, receiveDrops: 0, transmitBytes: 0, transmitPackets: 0, transmitDrops: 0 };
  const columns = new Float64Array(16);
  for (let at = 0; at < length; at = nextLine(buffer, at, length)) {
    let start = at;
    while (start < length && buffer[start] === space) start++;
    let end = start;
    while (end < length && buffer[end] !== colon && buffer[end] !== 0x0a) end++;
    if (buffer[end] !== colon || !readColumns(buffer, end + 1, length, columns)) continue;
    counters.receiveBytes = columns[0]!;
    counters.receivePackets = columns[1]!;
    counters.receiveDrops = columns[3]!;
    counters.transmitBytes = columns[8]!;
    counters.transmitPackets = columns[9]!;
    counters.transmitDrops = columns[11]!;
    visit(buffer.toString('latin1', start, end), counters);
  }
}

function readColumns(buffer: Buffer, from: number, end: number, columns: Float64Array): boolean {
  let at = from;
  for (let column = 0; column < columns.length; column++) {
    const value = numberAt(buffer, at, end);
    if (value < 0) return false;
    columns[column] = value;
    while (at < end && buffer[at] === space) at++;
    while (at < end && buffer[at] !== space && buffer[at] !== 0x0a) at++;
  }
  return true;
}
