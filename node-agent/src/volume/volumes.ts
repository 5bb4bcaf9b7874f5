import type { Assignment } from '@gantry/proto';

/** One entry of the OCI configuration's `mounts`, in the order to mount. */
export interface PreparedMount {
  destination: string;
  type: 'bind' | 'tmpfs';
  /** Absolute host path, or "tmpfs". */
  source: string;
  options: readonly string[];
}

export interface VolumeName {
  namespace: string;
  app: string;
  name: string;
}

/** Storage of the containers of one node. */
export interface Volumes {
  /**
   * Makes volumes, binds, tmpfs, configs and secrets of a container ready to mount; repeatable.
   * @throws GantryError permissionDenied for a host path outside the allowed roots, failedPrecondition for one that
   * is or passes a symlink or does not exist, invalidArgument for an illegal name or target.
   */
  prepare(assignment: Assignment, signal: AbortSignal): Promise<readonly PreparedMount[]>;
  /** Removes what `prepare` wrote for this container alone: its configs, secrets and anonymous volumes. */
  release(containerId: string): Promise<void>;
  /** Volumes that exist on this node. */
  list(): Promise<readonly VolumeName[]>;
  /** Removes a volume with its content; one that is not there counts as removed. */
  remove(volume: VolumeName): Promise<void>;
}
