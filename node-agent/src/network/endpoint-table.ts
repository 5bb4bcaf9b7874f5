import type { EndpointMap, ServiceEndpoints } from '@gantry/proto';

/** The cluster's services with their ready containers, put together from complete and partial maps. */
export class EndpointTable {
  readonly #services = new Map<string, ServiceEndpoints>();
  #version = 0;

  /** Version of the newest map taken. */
  get version(): number {
    return this.#version;
  }

  /** Takes a map; a partial one that is older than what is known is ignored. Returns whether anything was taken. */
  take(map: EndpointMap): boolean {
    if (!map.snapshot && map.version < this.#version) return false;
    if (map.snapshot) this.#services.clear();
    this.#version = map.version;
    for (const service of map.services) {
      const { namespace, app, service: name } = service.key ?? { namespace: '', app: '', service: '' };
      const key = `${namespace}/${app}/${name}`;
      if (service.removed) this.#services.delete(key);
      else this.#services.set(key, service);
    }
    return true;
  }

  services(): Iterable<ServiceEndpoints> {
    return this.#services.values();
  }
}
