import { Code, GantryError } from '@gantry/common';
import { PortProtocol, type Service, ServiceKey } from '@gantry/proto';
import { type ClusterView, serviceId } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import type { Comparison, Write } from '../store/store.ts';
import type { ServiceStep } from './app-plan.ts';
import type { ApiDeps } from './ports.ts';

/** What taking and giving back published ports adds to a transaction. */
export interface PortClaims {
  readonly compare: readonly Comparison[];
  readonly writes: readonly Write[];
}

/**
 * Published ports are of the whole cluster: each has a record that names its service.
 * @throws GantryError failedPrecondition naming the holder of a port that is taken.
 */
export async function claimPorts(
  { store, view }: Pick<ApiDeps, 'store' | 'view'>,
  steps: readonly Pick<ServiceStep, 'before' | 'after'>[],
): Promise<PortClaims> {
  const before = steps.flatMap((step) => portsOf(step.before));
  const after = steps.flatMap((step) => portsOf(step.after));
  const kept = new Set(after.map(({ key }) => key));
  const compare: Comparison[] = [];
  const writes: Write[] = before.filter(({ key }) => !kept.has(key)).map(({ key }) => ({ kind: 'delete', key }));
  const holders = await Promise.all(after.map(({ key }) => store.get(key)));
  for (const [index, { key, port, service }] of after.entries()) {
    const found = holders[index];
    const holder = found && ServiceKey.decode(found.value);
    if (holder && serviceId(holder) === serviceId(service)) continue;
    // a holder of the same app gives the port up in this very transaction
    const moves = before.some((other) => other.key === key);
    if (holder && !moves && publishes(view, holder, key)) throw taken(port, service, holder);
    compare.push({ kind: 'modRevision', key, equals: found?.modRevision ?? 0 });
    writes.push({ kind: 'put', key, value: ServiceKey.encode(service) });
  }
  return { compare, writes };
}

interface PublishedPort {
  readonly key: string;
  /** "8080/tcp" */
  readonly port: string;
  readonly service: ServiceKey;
}

function portsOf(service: Service | undefined): PublishedPort[] {
  if (!service?.key || service.deletedAt > 0) return [];
  const { key: owner } = service;
  return (service.spec?.ports ?? [])
    .filter(({ published }) => published > 0)
    .map(({ published, protocol }) => {
      const name = protocol === PortProtocol.udp ? 'udp' : 'tcp';
      return { key: keys.port(name, published), port: `${published}/${name}`, service: owner };
    });
}

/** Whether the service that a record names still publishes the port. */
function publishes(view: ClusterView, holder: ServiceKey, key: string): boolean {
  return portsOf(view.services.get(serviceId(holder))?.value).some((port) => port.key === key);
}

function taken(port: string, service: ServiceKey, holder: ServiceKey): GantryError {
  const who = `${holder.namespace}/${holder.app}/${holder.service}`;
  return new GantryError(
    Code.failedPrecondition,
    `cannot publish port ${port} for "${service.app}/${service.service}": it must be free in the whole cluster, found service "${who}" on it`,
    { details: { subject: `services.${service.service}.ports`, hint: `choose another port, or remove it from "${who}" first` } },
  );
}
