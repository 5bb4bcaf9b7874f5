import { type Revision, type Rollout, type RolloutRequestRecord, type Service, ServiceSpecMode } from '@gantry/proto';

/** What a service should be. */
export interface Desired {
  readonly service: Service;
  /** Containers wanted, of the autoscaler or the spec; for global services the nodes count. */
  readonly replicas: number;
  readonly rollout: Rollout | undefined;
  readonly request: RolloutRequestRecord | undefined;
  /** By number; the current one and those that containers have. */
  readonly revisions: ReadonlyMap<number, Revision>;
  /** For global services: nodes that should run one, and of those the ones that can take a new one now. */
  readonly nodes: { readonly wanted: readonly string[]; readonly open: ReadonlySet<string> };
  /** Why nothing may start yet; empty when it may. */
  readonly waitsFor: string;
  /** Two of its containers must never run side by side for one slot: it has a volume for one writer only. */
  readonly exclusive: boolean;
  /** Its data binds it to a node: it stays there, whatever becomes of the node. */
  readonly bound: boolean;
}

/** Whether a service's containers end by themselves. */
export function isJob(mode: ServiceSpecMode): boolean {
  return mode === ServiceSpecMode.replicated_job || mode === ServiceSpecMode.global_job;
}
