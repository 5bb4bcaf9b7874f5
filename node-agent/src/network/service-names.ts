import type { Endpoint, ServiceEndpoints } from '@gantry/proto';

/** Who asks: the app of a container of this node, or nobody known. */
export interface Asker {
  namespace: string;
  app: string;
}

/** What a name means here. */
export type NameAnswer =
  /** A known service; without a ready container the list is empty. */
  | { kind: 'addresses'; addresses: readonly string[] }
  /** No such name, and nobody else may know it. */
  | { kind: 'unknown' }
  /** Not ours. */
  | { kind: 'foreign' };

const noAsker: Asker = { namespace: 'default', app: '' };

/**
 * The names of ready containers: `service`, `service.app` and `service.app.<domain>`, each also with
 * a slot number in front. Aliases of a service count as its name. Names never cross namespaces.
 */
export class ServiceNames {
  readonly #suffix: string;
  /** By "namespace/app/name": the services that answer to the name. */
  readonly #byName = new Map<string, ServiceEndpoints[]>();

  /** @param domain the cluster's, "gantry.internal". */
  constructor(domain: string, services: Iterable<ServiceEndpoints>) {
    this.#suffix = `.${domain.toLowerCase()}`;
    for (const service of services) {
      const { namespace = '', app = '', service: name = '' } = service.key ?? {};
      for (const alias of new Set([name, ...service.aliases])) {
        const key = `${namespace}/${app}/${alias.toLowerCase()}`;
        const known = this.#byName.get(key);
        if (known === undefined) this.#byName.set(key, [service]);
        else known.push(service);
      }
    }
  }

  /** Looks a name up as the asker sees it; a final dot and the case of letters do not matter. */
  resolve(name: string, asker: Asker = noAsker): NameAnswer {
    const plain = name.toLowerCase().replace(/\.$/, '');
    const ours = plain.endsWith(this.#suffix) || plain === this.#suffix.slice(1);
    const labels = (ours ? plain.slice(0, -this.#suffix.length) : plain).split('.');
    const found = this.#find(labels, asker, ours);
    if (found !== undefined) return { kind: 'addresses', addresses: found };
    // a single label is a service's or nobody's: resolvers of the outside know none
    return ours || labels.length === 1 ? { kind: 'unknown' } : { kind: 'foreign' };
  }

  #find(labels: readonly string[], asker: Asker, ours: boolean): string[] | undefined {
    const [first = '', second, third] = labels;
    if (labels.length === 1 && !ours) return this.#addresses(asker.app, first, asker);
    if (labels.length === 2) {
      return this.#addresses(second ?? '', first, asker) ?? this.#slot(first, asker.app, second ?? '', asker);
    }
    if (labels.length === 3) return this.#slot(first, third ?? '', second ?? '', asker);
    return undefined;
  }

  #slot(label: string, app: string, name: string, asker: Asker): string[] | undefined {
    if (!/^[1-9]\d{0,8}$/.test(label)) return undefined;
    return this.#addresses(app, name, asker, Number(label));
  }

  #addresses(app: string, name: string, asker: Asker, slot?: number): string[] | undefined {
    const services = this.#byName.get(`${asker.namespace}/${app}/${name}`);
    const wanted = (endpoint: Endpoint) => endpoint.address !== '' && (slot === undefined || endpoint.slot === slot);
    return services?.flatMap((service) => service.endpoints.filter(wanted).map((endpoint) => endpoint.address));
  }
}
