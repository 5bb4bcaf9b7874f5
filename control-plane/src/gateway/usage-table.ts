import type { Report, Usage } from '@gantry/proto';

/** What one report said of containers that are the node's own. */
export interface NodeReport {
  readonly node: string;
  readonly usage: Usage | undefined;
  readonly containers: ReadonlyMap<string, Usage>;
}

export type ReportListener = (report: NodeReport) => void;

/** The newest measurements of nodes and containers, in memory. */
export class UsageTable {
  readonly #containers = new Map<string, Usage>();
  readonly #nodes = new Map<string, Usage>();
  readonly #listeners = new Set<ReportListener>();

  latest(containerId: string): Usage | undefined {
    return this.#containers.get(containerId);
  }

  node(name: string): Usage | undefined {
    return this.#nodes.get(name);
  }

  /** @returns a function that ends it. */
  onReport(listener: ReportListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param owns whether a container is assigned to the node: what is said of others does not count. */
  record(node: string, report: Report, owns: (containerId: string) => boolean): void {
    const containers = new Map<string, Usage>();
    for (const [index, id] of report.ids.entries()) {
      const usage = report.usages[index];
      if (!usage || !owns(id)) continue;
      containers.set(id, usage);
      this.#containers.set(id, usage);
    }
    if (report.node) this.#nodes.set(node, report.node);
    const told: NodeReport = { node, usage: report.node ?? undefined, containers };
    for (const listener of this.#listeners) listener(told);
  }

  /** Takes over what another gateway was told; nobody here is told of it again. */
  learn({ node, usage, containers }: NodeReport): void {
    if (usage) this.#nodes.set(node, usage);
    for (const [id, measured] of containers) this.#containers.set(id, measured);
  }

  forgetContainer(containerId: string): void {
    this.#containers.delete(containerId);
  }

  forgetNode(name: string): void {
    this.#nodes.delete(name);
  }
}
