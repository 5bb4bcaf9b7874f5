import { Report } from '@gantry/proto';
import type { IngestReport } from './ingest.ts';
import type { RedisLink } from './redis-link.ts';

const channel = 'gantry:reports';

export interface ShareReportsOptions {
  /** Of this control plane. */
  id: string;
  /** For commands. */
  link: RedisLink;
  /** A connection of its own that listens. */
  listener: RedisLink;
  /** Told what others' nodes have reported. */
  learn: (report: IngestReport) => void;
}

/**
 * Lets all control planes know what the nodes of each report, so that the leader scales by the use of all of them. Reports
 * are for the moment: one that is lost is followed by the next.
 * @returns what hands on a report.
 */
export function shareReports({ id, link, listener, learn }: ShareReportsOptions): (report: IngestReport) => void {
  const subscribe = () => {
    listener.redis.subscribe(channel).catch(() => {
      // away again: it subscribes when it is back
    });
  };
  listener.redis.on('ready', subscribe);
  if (listener.isReady) subscribe();
  listener.redis.on('messageBuffer', (_channel: Buffer, message: Buffer) => {
    const told = readReport(message);
    if (told && told.from !== id) learn(told.report);
  });
  return (report) => {
    if (!link.isReady) return;
    link.redis.publish(channel, writeReport(id, report)).catch(() => {
      // the next report follows in seconds
    });
  };
}

/** Names with their lengths, then the report as agents send it. */
function writeReport(from: string, { node, usage, containers }: IngestReport): Buffer {
  const report = Report.create({ node: usage ?? null, ids: [...containers.keys()], usages: [...containers.values()] });
  const names = [from, node].map((name) => Buffer.from(name));
  return Buffer.concat([...names.flatMap((name) => [Buffer.from([name.length]), name]), Report.encode(report)]);
}

function readReport(bytes: Buffer): { from: string; report: IngestReport } | undefined {
  try {
    const fromEnd = 1 + bytes[0]!;
    const nodeEnd = fromEnd + 1 + bytes[fromEnd]!;
    const { node: usage, ids, usages } = Report.decode(bytes.subarray(nodeEnd));
    const containers = new Map(ids.map((id, index) => [id, usages[index]!]));
    const node = bytes.toString('utf8', fromEnd + 1, nodeEnd);
    return { from: bytes.toString('utf8', 1, fromEnd), report: { node, usage: usage ?? undefined, containers } };
  } catch {
    // not one of ours: the channel is open to others
    return undefined;
  }
}
