import type { Clock } from '@gantry/common';
import type { Report, Usage } from '@gantry/proto';
import { startBlkioCounting } from './blkio-counting.ts';
import { gaugesV1 } from './cgroup-v1.ts';
import { gaugesV2 } from './cgroup-v2.ts';
import type { Gauge } from './counters.ts';
import { KeptFile } from './kept-file.ts';
import type { CgroupMounts } from './mounts.ts';
import { type InterfaceCounters, parseNetDev } from './netns.ts';
import { pressureGauges } from './psi.ts';
import type { Sampler, SampleSource } from './sampler.ts';
import { Tracked } from './tracked.ts';

export interface CgroupSamplerOptions {
  mounts: CgroupMounts;
  /** Group that holds all containers of this node, "/gantry": its usage is the node's. */
  nodeCgroup: string;
  clock: Clock;
  /** Default "/proc". */
  procRoot?: string;
  /** Default "/sys". */
  sysRoot?: string;
}

/** Enough for some 2,000 interfaces, the longest text that is read. */
const bufferBytes = 256 * 1024;

/** Samples through descriptors that are kept open; about ten of them a container. */
export function createSampler(options: CgroupSamplerOptions): Sampler {
  startBlkioCounting(options.mounts, options.sysRoot);
  return new CgroupSampler(options);
}

class CgroupSampler implements Sampler {
  readonly #options: CgroupSamplerOptions;
  readonly #procRoot: string;
  readonly #buffer = Buffer.allocUnsafeSlow(bufferBytes);
  readonly #tracked = new Map<string, Tracked>();
  readonly #byInterface = new Map<string, Tracked>();
  readonly #netDev: KeptFile;
  readonly #node: Tracked;

  constructor(options: CgroupSamplerOptions) {
    this.#options = options;
    this.#procRoot = options.procRoot ?? '/proc';
    // "self/net" is of the network namespace of whoever opens it: the node's.
    this.#netDev = new KeptFile(`${this.#procRoot}/self/net/dev`);
    this.#node = new Tracked({ cgroupPath: options.nodeCgroup, hostInterface: '', pid: 0 }, this.#gauges(options.nodeCgroup, 0));
  }

  #gauges(cgroupPath: string, pid: number): Gauge[] {
    const { v1, unified } = this.#options.mounts;
    const pressure = unified === '' ? [] : pressureGauges(unified, cgroupPath);
    if (v1.size === 0) return [...gaugesV2(unified, cgroupPath), ...pressure];
    return [...gaugesV1(v1, cgroupPath, pid > 0 ? `${this.#procRoot}/${pid}/io` : ''), ...pressure];
  }

  track(id: string, source: SampleSource): void {
    const earlier = this.#tracked.get(id);
    if (earlier?.sameAs(source)) return;
    const tracked = new Tracked(source, this.#gauges(source.cgroupPath, source.pid), earlier);
    if (earlier) this.#drop(earlier);
    this.#tracked.set(id, tracked);
    if (source.hostInterface !== '') this.#byInterface.set(source.hostInterface, tracked);
  }

  untrack(id: string): void {
    const tracked = this.#tracked.get(id);
    if (!tracked) return;
    this.#tracked.delete(id);
    this.#drop(tracked);
  }

  #drop(tracked: Tracked): void {
    const name = tracked.source.hostInterface;
    if (this.#byInterface.get(name) === tracked) this.#byInterface.delete(name);
    tracked.close();
  }

  sampleAll(nowUs: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#node.begin();
    for (const tracked of this.#tracked.values()) {
      tracked.begin();
      tracked.read(this.#buffer);
    }
    this.#node.read(this.#buffer);
    this.#readInterfaces();
    for (const tracked of this.#tracked.values()) tracked.end(nowUs, nowMs);
    this.#node.end(nowUs, nowMs);
  }

  #readInterfaces(): void {
    if (this.#byInterface.size === 0) return;
    const length = this.#netDev.read(this.#buffer);
    parseNetDev(this.#buffer, length, (name, counters) => {
      const tracked = this.#byInterface.get(name);
      if (!tracked) return;
      tracked.setNetwork(fromHostSide(counters));
      this.#node.addNetwork(tracked);
    });
  }

  latest(id: string): Usage | undefined {
    return this.#tracked.get(id)?.latest();
  }

  report(nowUs: number): Report {
    const nowMs = this.#options.clock.monotonicMs();
    const ids: string[] = [];
    const usages: Usage[] = [];
    for (const [id, tracked] of this.#tracked) {
      const usage = tracked.report(nowUs, nowMs);
      if (!usage) continue;
      ids.push(id);
      usages.push(usage);
    }
    return { at: nowUs, node: this.#node.report(nowUs, nowMs) ?? null, ids, usages };
  }

  close(): void {
    for (const tracked of this.#tracked.values()) tracked.close();
    this.#tracked.clear();
    this.#byInterface.clear();
    this.#node.close();
    this.#netDev.close();
  }
}

/** What the host's end of a veth pair receives, the container has sent. */
function fromHostSide(host: InterfaceCounters) {
  return {
    receiveBytes: host.transmitBytes,
    receivePackets: host.transmitPackets,
    transmitBytes: host.receiveBytes,
    transmitPackets: host.receivePackets,
    drops: host.receiveDrops + host.transmitDrops,
  };
}
