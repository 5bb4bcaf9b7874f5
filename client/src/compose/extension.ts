import { Affinity, Autoscale, PlacementStrategy, ServiceSpecDisconnect } from '@gantry/proto';
import { mostReplicas } from './deploy.ts';
import { probe } from './probe.ts';
import { io, network } from './resources.ts';
import { duration, flag, oneOf, percent, text, whole } from './scalars.ts';
import { type Located, list, located, mapping, mustHave, type Read } from './shape.ts';
import { refusedExtensionKeys } from './unsupported.ts';

const autoscaleTable = mapping({
  min: whole(1, mostReplicas),
  max: whole(1, mostReplicas),
  cpu: percent(1000),
  memory: percent(1000),
  stabilization: duration(),
  scale_up_stabilization: duration(),
  tolerance: percent(100),
});

/** `x-gantry.autoscale`: between min (1) and max, towards a share of the reservation of cpu, memory or both. */
const autoscale: Read<Autoscale> = (value, context) => {
  const fields = autoscaleTable(value, context);
  if (!fields) return undefined;
  const { min = 1, max, cpu: cpuPercent = 0, memory: memoryPercent = 0 } = fields.values;
  if (!fields.has('max')) return mustHave(value, context, 'max');
  if (!fields.has('cpu') && !fields.has('memory')) return mustHave(value, context, 'a target: cpu or memory, such as cpu: 60%');
  if (max === undefined) return undefined;
  if (min > max) {
    return context.problems.refuse(fields.at('min'), `cannot read "${value.path}": min must be at most max, found ${min} and ${max}`);
  }
  return Autoscale.create({
    min,
    max,
    cpuPercent,
    memoryPercent,
    stabilizationUs: fields.values.stabilization ?? 0,
    scaleUpStabilizationUs: fields.values.scale_up_stabilization ?? 0,
    tolerancePercent: fields.values.tolerance ?? 0,
  });
};

const toleration = text(
  'a taint as "key", "key=value" or "key=value:effect" with no_schedule, prefer_no_schedule or no_execute',
  /^[A-Za-z0-9][\w./-]*(=[\w./-]*)?(:(no[-_]schedule|prefer[-_]no[-_]schedule|no[-_]execute))?$/,
);

const otherService = text(
  'a service, "cache" of this app or "shop/cache" of another one',
  /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\/[a-z0-9]([a-z0-9-]*[a-z0-9])?)?$/,
);
const affinityTable = mapping({
  service: otherService,
  within: text('a node attribute such as node.zone or node.labels.rack', /^node\.[\w./-]+$/),
  required: flag,
});

/** Services to be near to, or apart from: a name alone prefers the same node. */
function affinities(apart: boolean): Read<Located<Affinity>[]> {
  return located(
    (value, context) => {
      if (value.kind === 'scalar') {
        const service = otherService(value, context);
        return service === undefined ? undefined : Affinity.create({ service, apart });
      }
      const fields = affinityTable(value, context);
      if (!fields) return undefined;
      const { service, within = '', required = false } = fields.values;
      if (!fields.has('service')) return mustHave(value, context, 'a service');
      return service === undefined ? undefined : Affinity.create({ service, within, apart, required });
    },
    'services',
    16,
  );
}

/** `x-gantry` of a service: what Compose cannot say. */
export const extension = mapping(
  {
    affinity: affinities(false),
    anti_affinity: affinities(true),
    autoscale,
    io,
    network,
    priority: whole(-1000, 1000),
    reclaimable: flag,
    readiness: probe,
    health: probe,
    disconnect: oneOf({ keep: ServiceSpecDisconnect.keep, stop: ServiceSpecDisconnect.stop }),
    drain: duration(),
    strategy: oneOf({ binpack: PlacementStrategy.binpack, spread: PlacementStrategy.spread }),
    tolerations: list(toleration, 'tolerations', 32),
    user_namespace: flag,
    progress_deadline: duration(1_000_000, 7 * 8.64e10),
  },
  { refused: refusedExtensionKeys },
);
