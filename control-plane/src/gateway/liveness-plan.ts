/** The figures that loss detection goes by, in milliseconds. */
export interface LivenessRules {
  /** Time between two heartbeats. */
  heartbeatMs: number;
  /** Heartbeats that must be missing. */
  missed: number;
  /** On top of the missed heartbeats. */
  graceMs: number;
  /** From this share of a zone's nodes silent together nobody is declared lost. */
  brakeShare: number;
  /** Nodes lost within this time of each other went silent together. */
  togetherMs: number;
}

/** Heartbeats each second, lost after 3.5 s, brake at 55 % as in Kubernetes' zone rule. */
export const defaultLivenessRules: LivenessRules = { heartbeatMs: 1000, missed: 3, graceMs: 500, brakeShare: 0.55, togetherMs: 10_000 };

/** A node as loss detection sees it; all times on this process's monotonic clock. */
export interface Observed {
  readonly node: string;
  readonly zone: string;
  /** When it was last heard, or when this process began to wait for it. */
  readonly heardMs: number;
  /** When this process saw it declared lost; undefined while it is not. */
  readonly lostMs?: number;
}

/** What is to be done about the nodes. */
export interface LivenessPlan {
  /** Silent for too long: to be declared lost. */
  readonly lost: readonly string[];
  /** Silent for too long, but so are too many others: their session is over and nothing more. */
  readonly spared: readonly string[];
  /** Zones whose brake is on, with the nodes that are silent there and the nodes there are. */
  readonly braked: ReadonlyMap<string, { silent: number; nodes: number }>;
  /** When to look again at the latest. */
  readonly nextMs: number;
}

/** How long a node may be silent. */
export function lossMs(rules: LivenessRules): number {
  return rules.heartbeatMs * rules.missed + rules.graceMs;
}

/**
 * Decides which nodes are lost. A zone in which `brakeShare` of the nodes or more went silent together is spared: then the
 * fault is rather between us and the zone. Nodes count as silent from their second missing heartbeat, so that nodes that
 * were cut off at the same moment are seen together, whatever the phase of their heartbeats.
 */
export function planLiveness(nodes: readonly Observed[], nowMs: number, rules: LivenessRules): LivenessPlan {
  const limitMs = lossMs(rules);
  const suspectMs = rules.heartbeatMs * 2;
  const zones = new Map<string, { silent: number; nodes: number }>();
  let nextMs = nowMs + rules.heartbeatMs;
  for (const node of nodes) {
    // what was lost long ago says nothing of what happens now
    if (node.lostMs !== undefined && nowMs - node.lostMs > rules.togetherMs) continue;
    const zone = zones.get(node.zone) ?? { silent: 0, nodes: 0 };
    zone.nodes++;
    if (node.lostMs !== undefined || nowMs - node.heardMs >= suspectMs) zone.silent++;
    zones.set(node.zone, zone);
  }
  const braked = new Map([...zones].filter(([, zone]) => zone.silent / zone.nodes >= rules.brakeShare));
  const lost: string[] = [];
  const spared: string[] = [];
  for (const node of nodes) {
    if (node.lostMs !== undefined) continue;
    const dueMs = node.heardMs + limitMs;
    if (nowMs < dueMs) nextMs = Math.min(nextMs, dueMs);
    else (braked.has(node.zone) ? spared : lost).push(node.node);
  }
  return { lost, spared, braked: new Map([...braked].filter(([zone]) => spared.some((name) => zoneOf(nodes, name) === zone))), nextMs };
}

function zoneOf(nodes: readonly Observed[], name: string): string | undefined {
  return nodes.find((node) => node.node === name)?.zone;
}
