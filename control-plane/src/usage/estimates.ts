import type { Clock } from '@gantry/common';
import type { Resources } from '@gantry/proto';
import { type EstimateSubject, EstimateTable, type EstimateTableOptions } from './estimate-table.ts';
import type { IngestReport } from './ingest.ts';

/** An assigned container, as far as estimates need to know. */
export interface EstimatedContainer extends EstimateSubject {
  readonly node: string;
  readonly reservation: Resources;
}

export interface EstimatesOptions extends EstimateTableOptions {
  clock: Clock;
  /** The container while it is assigned. */
  containerOf: (id: string) => EstimatedContainer | undefined;
}

/** What containers are expected to use, from the reports of their nodes. Kept in memory: a process that starts learns anew. */
export interface Estimates {
  /** Takes in what a node reports of the containers that are its own. */
  record(report: IngestReport): void;
  /** What a container is expected to use; undefined when it is not assigned. */
  estimate(containerId: string): Resources | undefined;
  /** Drops what is known of a container that is gone. */
  forget(containerId: string): void;
}

/** Starts with nothing known: every estimate is the reservation. */
export function createEstimates({ clock, containerOf, ...rest }: EstimatesOptions): Estimates {
  const table = new EstimateTable(rest);
  return {
    record: ({ node, containers }) => {
      const nowUs = clock.monotonicMs() * 1000;
      for (const [id, usage] of containers) {
        const container = containerOf(id);
        if (container?.node === node) table.record(container, usage, nowUs);
      }
    },
    estimate: (containerId) => {
      const container = containerOf(containerId);
      return container && table.expected(container, container.reservation);
    },
    forget: (containerId) => table.forget(containerId),
  };
}
