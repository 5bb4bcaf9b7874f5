/** The figures that loss detection goes by, in milliseconds. */
export interface LivenessRules {
  /** Time between two heartbeats. */
  heartbeatMs: number;
  /** Heartbeats that must be missing. */
  missed: number;
  /** On top of the missed heartbeats. */
  graceMs: number;
  /** From this share of nodes silent together nobody is declared lost. */
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
  /** Zones (or `everywhere`) whose brake is on, with the nodes that are silent there and the nodes there are. */
  readonly braked: ReadonlyMap<string, { silent: number; nodes: number }>;
  /** When to look again at the latest. */
  readonly nextMs: number;
}

/** How long a node may be silent. */
export function lossMs(rules: LivenessRules): number {
  return rules.heartbeatMs * rules.missed + rules.graceMs;
}

/** The tally of all nodes, beside those of the zones. */
export const everywhere = '';
/** A smaller zone says nothing by falling silent as a whole. */
const smallestZone = 3;

interface Tally {
  silent: number;
  nodes: number;
}

/**
 * Decides which nodes are lost. Where `brakeShare` of the nodes or more went silent together, in a zone of three and more or
 * in the whole cluster, the silent are spared: then the fault is rather between us and them. Nodes count as silent from
 * their second missing heartbeat, so that nodes that were cut off at the same moment are seen together, whatever the phase
 * of their heartbeats.
 */
export function planLiveness(nodes: readonly Observed[], nowMs: number, rules: LivenessRules): LivenessPlan {
  const limitMs = lossMs(rules);
  const tallies = tally(nodes, nowMs, rules);
  const isBraked = (zone: string) => {
    const { silent, nodes: count } = tallies.get(zone) ?? { silent: 0, nodes: 0 };
    return (zone === everywhere || count >= smallestZone) && silent >= count * rules.brakeShare;
  };
  const braked = new Map<string, Tally>();
  const lost: string[] = [];
  const spared: string[] = [];
  let nextMs = nowMs + rules.heartbeatMs;
  for (const { node, zone, heardMs, lostMs } of nodes) {
    if (lostMs !== undefined) continue;
    const dueMs = heardMs + limitMs;
    const brake = [everywhere, zone].find(isBraked);
    if (nowMs < dueMs) nextMs = Math.min(nextMs, dueMs);
    else if (brake === undefined) lost.push(node);
    else {
      spared.push(node);
      braked.set(brake, tallies.get(brake)!);
    }
  }
  return { lost, spared, braked, nextMs };
}

function tally(nodes: readonly Observed[], nowMs: number, rules: LivenessRules): Map<string, Tally> {
  const tallies = new Map<string, Tally>();
  for (const { zone, heardMs, lostMs } of nodes) {
    // what was lost long ago says nothing of what happens now
    if (lostMs !== undefined && nowMs - lostMs > rules.togetherMs) continue;
    const isSilent = lostMs !== undefined || nowMs - heardMs >= rules.heartbeatMs * 2;
    for (const place of new Set([everywhere, zone])) {
      const sum = tallies.get(place) ?? { silent: 0, nodes: 0 };
      sum.nodes++;
      if (isSilent) sum.silent++;
      tallies.set(place, sum);
    }
  }
  return tallies;
}
