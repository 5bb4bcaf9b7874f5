import type { Report, Usage } from '@gantry/proto';

/** Where the figures of one container are read. */
export interface SampleSource {
  /** Below the controllers' roots, as in the OCI configuration: "/gantry-n1/1f2e3d4c5b6a". */
  cgroupPath: string;
  /** Host side of the container's veth pair, empty for none. */
  hostInterface: string;
  /** Main process. */
  pid: number;
}

/** Measures the containers of one node, and the node. */
export interface Sampler {
  /** From the next sample on; a second call for the same id takes the new source and keeps totals from going back. */
  track(id: string, source: SampleSource): void;
  untrack(id: string): void;
  /** Reads everything once; meant for each second. Never throws: what cannot be read keeps its last value. */
  sampleAll(nowUs: number): void;
  /** Newest usage of a container with rates over the last second; undefined before the first sample. */
  latest(id: string): Usage | undefined;
  /** Everything for the control plane, with rates since the previous report. */
  report(nowUs: number): Report;
  /** Closes all descriptors. */
  close(): void;
}
