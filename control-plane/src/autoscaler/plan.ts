import type { Autoscale, Resources } from '@gantry/proto';

const defaultStabilizationUs = 60e6;
const defaultTolerancePercent = 10;

/** What one container uses. */
export interface Sample {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

/** A number of replicas that was found right at some time. */
export interface Recommendation {
  readonly atUs: number;
  readonly replicas: number;
}

export interface AutoscaleInput {
  readonly autoscale: Autoscale;
  readonly reservation: Resources;
  /** Replicas wanted now. */
  readonly current: number;
  /** Of the containers that were measured lately. */
  readonly samples: readonly Sample[];
  /** Containers wanted that were not: they start, or their node is silent. */
  readonly missing: number;
  /** Earlier recommendations, oldest first. */
  readonly history: readonly Recommendation[];
  /** Since when recommendations have been kept: before it nothing is known. */
  readonly sinceUs: number;
  readonly nowUs: number;
}

export interface AutoscaleDecision {
  readonly replicas: number;
  /** What the present samples alone ask for. */
  readonly recommendation: number;
  /** "cpu 172% of the 70% aimed at, 3 of 3 measured". */
  readonly reason: string;
  /** As far back as the windows reach. */
  readonly history: readonly Recommendation[];
}

interface Target {
  readonly name: string;
  readonly percent: number;
  readonly reserved: number;
  readonly used: (sample: Sample) => number;
}

/**
 * How many replicas a service should have. Of several targets the one that asks for most decides. Up goes it at once (or after its
 * own window), down only as far as the highest recommendation of the stabilisation window; what was not measured never makes it
 * smaller. The result lies between min and max.
 */
export function planAutoscale(input: AutoscaleInput): AutoscaleDecision {
  const { autoscale, current, nowUs } = input;
  const asked = targetsOf(input).map((target) => ask(target, input));
  const winner = asked.reduce<Asked | undefined>((best, each) => (!best || each.replicas > best.replicas ? each : best), undefined);
  const recommendation = clamp(autoscale, winner?.replicas ?? current);
  const downUs = autoscale.stabilizationUs || defaultStabilizationUs;
  const upUs = autoscale.scaleUpStabilizationUs;
  const history = [...input.history, { atUs: nowUs, replicas: recommendation }].filter(({ atUs }) => atUs > nowUs - Math.max(downUs, upUs));
  const replicas = stabilize(input, history, recommendation, { downUs, upUs });
  return { replicas: clamp(autoscale, replicas), recommendation, reason: winner?.reason ?? 'nothing was measured', history };
}

function stabilize(
  { current, sinceUs, nowUs }: AutoscaleInput,
  history: readonly Recommendation[],
  recommendation: number,
  { downUs, upUs }: { downUs: number; upUs: number },
): number {
  const within = (windowUs: number) => history.filter(({ atUs }) => atUs > nowUs - windowUs).map(({ replicas }) => replicas);
  if (recommendation > current) {
    // What was asked for before the history began is not known: it cannot hold a growth back, nor let the service shrink.
    return upUs === 0
      ? recommendation
      : Math.max(current, Math.min(recommendation, ...within(upUs), nowUs - sinceUs < upUs ? current : recommendation));
  }
  if (recommendation === current || nowUs - sinceUs < downUs) return current;
  return Math.min(current, Math.max(recommendation, ...within(downUs)));
}

interface Asked {
  readonly replicas: number;
  readonly reason: string;
}

function targetsOf({ autoscale, reservation }: AutoscaleInput): Target[] {
  const targets: Target[] = [
    { name: 'cpu', percent: autoscale.cpuPercent, reserved: reservation.cpuMillis, used: ({ cpuMillis }) => cpuMillis },
    { name: 'memory', percent: autoscale.memoryPercent, reserved: reservation.memoryBytes, used: ({ memoryBytes }) => memoryBytes },
  ];
  return targets.filter(({ percent, reserved }) => percent > 0 && reserved > 0);
}

/** What one target asks for. */
function ask({ name, percent, reserved, used }: Target, { samples, missing, current, autoscale }: AutoscaleInput): Asked {
  const wanted = (reserved * percent) / 100;
  const sum = samples.reduce((total, sample) => total + used(sample), 0);
  const count = samples.length + missing;
  const share = samples.length === 0 ? 0 : Math.round(((sum / samples.length) * 100) / reserved);
  const measured = missing === 0 ? '' : `, ${samples.length} of ${count} measured`;
  const reason = `${name} ${share}% of the reservation, ${percent}% aimed at${measured}`;
  if (samples.length === 0) return { replicas: current, reason };
  const tolerance = (autoscale.tolerancePercent || defaultTolerancePercent) / 100;
  const ratio = sum / (samples.length * wanted);
  // Unknown containers use nothing when the service would grow by them, and all that is aimed at when it would shrink.
  const cautious = ratio > 1 ? sum / (count * wanted) : (sum + missing * wanted) / (count * wanted);
  const overruled = ratio > 1 ? cautious < 1 : cautious > 1;
  if (Math.abs(ratio - 1) <= tolerance || Math.abs(cautious - 1) <= tolerance || overruled) return { replicas: current, reason };
  const replicas = Math.ceil(count * cautious - 1e-9);
  return { replicas: ratio > 1 ? Math.max(current, replicas) : Math.min(current, replicas), reason };
}

function clamp({ min, max }: Autoscale, replicas: number): number {
  const least = Math.max(1, min);
  return Math.min(Math.max(replicas, least), Math.max(least, max));
}
