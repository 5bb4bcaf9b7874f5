import type { ServiceSpec } from '@gantry/proto';
import { affinitiesOf } from './demand.ts';
import type { ServiceAffinity } from './ports.ts';

/**
 * Who must not be where a service is: who wants to be alone keeps others away too, whichever was placed first.
 */
export class ApartIndex {
  /** By service that is to be kept away, by the one that asks for it. */
  readonly #byTarget = new Map<string, Map<string, ServiceAffinity[]>>();
  readonly #targetsOf = new Map<string, readonly string[]>();

  /** Takes over a service's spec; undefined: the service is gone. */
  set(service: string, spec: ServiceSpec | null | undefined): void {
    for (const target of this.#targetsOf.get(service) ?? []) {
      const asking = this.#byTarget.get(target);
      asking?.delete(service);
      if (asking?.size === 0) this.#byTarget.delete(target);
    }
    this.#targetsOf.delete(service);
    const asked = (spec ? affinitiesOf(service, spec) : []).filter(({ apart, required }) => apart && required);
    for (const { service: target, within } of asked) {
      if (target === service) continue;
      const asking = this.#byTarget.get(target) ?? new Map<string, ServiceAffinity[]>();
      this.#byTarget.set(target, asking);
      asking.set(service, [...(asking.get(service) ?? []), { service, within, apart: true, required: true }]);
    }
    if (asked.length > 0) this.#targetsOf.set(service, [...new Set(asked.map(({ service: target }) => target))]);
  }

  /** What others ask that keeps the service away from them. */
  from(service: string): readonly ServiceAffinity[] {
    const asking = this.#byTarget.get(service);
    return asking ? [...asking.values()].flat() : none;
  }

  /** A copy to try things on. */
  clone(): ApartIndex {
    const copy = new ApartIndex();
    for (const [target, asking] of this.#byTarget) copy.#byTarget.set(target, new Map(asking));
    for (const [service, targets] of this.#targetsOf) copy.#targetsOf.set(service, targets);
    return copy;
  }
}

const none: readonly ServiceAffinity[] = [];
