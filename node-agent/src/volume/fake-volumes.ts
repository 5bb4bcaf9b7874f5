import type { Assignment } from '@gantry/proto';
import type { PreparedMount, VolumeName, Volumes } from './volumes.ts';

/** Volumes for tests: nothing is on disk, calls are kept. */
export class FakeVolumes implements Volumes {
  readonly prepared: string[] = [];
  readonly released: string[] = [];
  readonly removed: VolumeName[] = [];
  /** What `prepare` gives. */
  mounts: readonly PreparedMount[] = [];
  /** What `prepare` throws, if anything. */
  failure: Error | undefined;

  async prepare(assignment: Assignment): Promise<readonly PreparedMount[]> {
    this.prepared.push(assignment.id);
    if (this.failure) throw this.failure;
    return this.mounts;
  }

  async release(containerId: string): Promise<void> {
    this.released.push(containerId);
  }

  async list(): Promise<readonly VolumeName[]> {
    return [];
  }

  async remove(volume: VolumeName): Promise<void> {
    this.removed.push(volume);
  }
}
