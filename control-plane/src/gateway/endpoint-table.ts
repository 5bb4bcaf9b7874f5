import { AssignmentDesired, ContainerState, Endpoint, type Service, ServiceEndpoints } from '@gantry/proto';
import type { ContainerRecord } from '../cluster/container.ts';
import type { ClusterView } from '../cluster/view.ts';

/** Where a service's ready containers are; a container that is to stop, or whose node is lost, is not among them. */
export function endpointsOf(service: Service, containers: readonly ContainerRecord[], isLost: (node: string) => boolean): ServiceEndpoints {
  const endpoints: Endpoint[] = [];
  for (const { assignment, status } of containers) {
    if (!status?.ready || status.state !== ContainerState.running || status.address === '') continue;
    if (assignment.desired !== AssignmentDesired.run || isLost(assignment.node)) continue;
    const { id, node, slot } = assignment;
    endpoints.push(Endpoint.create({ containerId: id, address: status.address, node, slot }));
  }
  endpoints.sort((a, b) => a.slot - b.slot || (a.containerId < b.containerId ? -1 : 1));
  return ServiceEndpoints.create({ key: service.key, endpoints, ports: service.spec?.ports ?? [], aliases: service.spec?.aliases ?? [] });
}

interface Row {
  readonly endpoints: ServiceEndpoints;
  readonly bytes: Buffer;
}

/** The endpoints of all services, with a version that counts their changes. */
export class EndpointTable {
  readonly #view: ClusterView;
  readonly #rows = new Map<string, Row>();
  readonly #serving = new Set<string>();
  #version = 1;

  constructor(view: ClusterView) {
    this.#view = view;
    this.refresh(view.services.keys());
  }

  get version(): number {
    return this.#version;
  }

  /** All services, "ns/app/service". */
  get services(): IterableIterator<string> {
    return this.#rows.keys();
  }

  /** What agents are told of a service; of one that is gone, that it is. */
  message(service: string): ServiceEndpoints {
    const row = this.#rows.get(service);
    if (row) return row.endpoints;
    const [namespace = '', app = '', name = ''] = service.split('/');
    return ServiceEndpoints.create({ key: { namespace, app, service: name }, removed: true });
  }

  /** Whether traffic is sent to a container. */
  isServing(containerId: string): boolean {
    return this.#serving.has(containerId);
  }

  /** Computes services anew from the view; returns those that changed. */
  refresh(services: Iterable<string>): string[] {
    const isLost = (node: string) => (this.#view.machines.get(node)?.value.lostAt ?? 0) > 0;
    const changed: string[] = [];
    for (const id of services) {
      const before = this.#rows.get(id);
      const service = this.#view.services.get(id)?.value;
      if (!service) {
        if (!before) continue;
        this.#rows.delete(id);
        this.#swap(before.endpoints, undefined);
        changed.push(id);
        continue;
      }
      const endpoints = endpointsOf(service, this.#view.containersOf(id), isLost);
      const bytes = Buffer.from(ServiceEndpoints.encode(endpoints));
      if (before?.bytes.equals(bytes)) continue;
      this.#rows.set(id, { endpoints, bytes });
      this.#swap(before?.endpoints, endpoints);
      changed.push(id);
    }
    if (changed.length > 0) this.#version++;
    return changed;
  }

  #swap(before: ServiceEndpoints | undefined, after: ServiceEndpoints | undefined): void {
    for (const { containerId } of before?.endpoints ?? []) this.#serving.delete(containerId);
    for (const { containerId } of after?.endpoints ?? []) this.#serving.add(containerId);
  }
}
