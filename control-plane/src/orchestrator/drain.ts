import { ProbeType, type ServiceSpec } from '@gantry/proto';

const defaultDrainUs = 1e6;

/** How long a container goes on after it was taken out of traffic, microseconds: as the spec says, 1 s for those that serve, else not. */
export function drainUsOf(spec: ServiceSpec): number {
  if (spec.drainUs > 0) return spec.drainUs;
  const probed = [spec.container?.health, spec.container?.readiness].some((probe) => probe && probe.type !== ProbeType.none);
  return probed || spec.ports.some(({ published }) => published > 0) ? defaultDrainUs : 0;
}
