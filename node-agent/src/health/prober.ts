import type { ContainerHealth, Probe } from '@gantry/proto';

/** How a container is reached by probes. */
export interface ProbeTarget {
  /** Address of the container as the node reaches it, "10.64.0.7"; empty when it has no network. */
  address: string;
  /** Runs a command in the container and gives its exit code; rejects when it cannot be run. */
  exec(command: readonly string[], signal: AbortSignal): Promise<number>;
}

/** A container's probes as its spec has them; null or type none for no probe. */
export interface Probes {
  health: Probe | null;
  readiness: Probe | null;
}

export interface Condition {
  /** `none` without a health probe. */
  health: ContainerHealth;
  /** Gates traffic: readiness probe passes and not unhealthy; without one: healthy; without any probe: always. */
  ready: boolean;
  /** Why the last probe failed; empty when it did not. */
  reason: string;
}

/** Probes the running containers of one node. */
export interface Prober {
  /**
   * Starts probing a container that just started; replaces an earlier watch of the id. For one that was found running,
   * `found` is the condition it was last known in: it holds until probes say otherwise.
   */
  watch(id: string, probes: Probes, target: ProbeTarget, found?: Condition): Condition;
  /** Stops probing; no change of it is told afterwards. */
  unwatch(id: string): void;
  condition(id: string): Condition | undefined;
  /** Told of every change after `watch`; the returned function ends it. */
  onChange(listener: (id: string, condition: Condition) => void): () => void;
  close(): void;
}
