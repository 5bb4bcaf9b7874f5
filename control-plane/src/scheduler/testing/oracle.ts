import { TaintEffect } from '@gantry/proto';
import { attributeOf, satisfies } from '../../cluster/constraint.ts';
import type { Demand, SchedulerNode, ServiceAffinity, Strategy } from '../ports.ts';
import { tieBreak } from '../tie.ts';

/** A cluster as plain records, placed on by looking at every node each time: slow and plain, to check the engine by. */
export class Oracle {
  readonly nodes: SchedulerNode[];
  readonly #seed: number;
  readonly #containers = new Map<string, { node: string; needs: Float64Array; service: string }>();

  constructor(nodes: SchedulerNode[], seed: number) {
    this.nodes = nodes;
    this.#seed = seed;
  }

  /** Records where a container is. */
  put(id: string, node: string, needs: Float64Array, service: string): void {
    this.#containers.set(id, { node, needs, service });
  }

  remove(id: string): void {
    this.#containers.delete(id);
  }

  /** What is taken of a node. */
  used(node: string, dimension: number): number {
    let sum = 0;
    for (const container of this.#containers.values()) if (container.node === node) sum += container.needs[dimension]!;
    return sum;
  }

  copies(node: string, service: string): number {
    return [...this.#containers.values()].filter((container) => container.node === node && container.service === service).length;
  }

  /** The rule, word for word: who may take it, then fewest of the service by preference, then the score. */
  best(service: string, demand: Demand, strategy: Strategy, crashes: ReadonlyMap<string, number>): SchedulerNode | undefined {
    const candidates = this.nodes.filter((node) => this.#allowed(node, service, demand));
    const order = (node: SchedulerNode): number[] => [
      ...demand.preferences.map((_, level) => this.#inDomain(node, service, demand.preferences.slice(0, level + 1))),
      -this.score(node, service, demand, strategy, crashes),
    ];
    return candidates.sort((a, b) => compare(order(a), order(b)))[0];
  }

  score(node: SchedulerNode, service: string, demand: Demand, strategy: Strategy, crashes: ReadonlyMap<string, number>): number {
    const after = [0, 1, 2, 3].map((dimension) => {
      const capacity = node.capacity[dimension]!;
      return capacity === 0 ? 0 : (capacity - this.used(node.name, dimension) - demand.needs[dimension]!) / capacity;
    });
    const mean = after.reduce((a, b) => a + b, 0) / 4;
    const fit = strategy === 'binpack' ? 1 - mean : mean;
    const stranded = mean - Math.min(...after);
    const siblings = Math.min(1, this.copies(node.name, service) / Math.max(1, demand.replicas));
    const crashed = Math.min(1, (crashes.get(node.name) ?? 0) / 3);
    const avoided = node.taints.some((taint) => taint.effect === TaintEffect.prefer_no_schedule && !demand.tolerations.includes(taint.key));
    const soft = (demand.affinities ?? []).filter(({ required }) => !required);
    const share = (apart: boolean): number => {
      const rules = soft.filter((rule) => rule.apart === apart);
      return rules.filter((rule) => this.#together(rule, node)).length / Math.max(1, rules.length);
    };
    const affinity = 0.5 * share(false) - 0.5 * share(true);
    return affinity + fit - 0.25 * stranded - 0.5 * siblings - 0.5 * crashed - (avoided ? 0.5 : 0) + tieBreak(this.#seed, node.name);
  }

  #allowed(node: SchedulerNode, service: string, demand: Demand): boolean {
    if (node.unready !== '' || node.closed !== '') return false;
    if (node.taints.some((taint) => taint.effect !== TaintEffect.prefer_no_schedule && !demand.tolerations.includes(taint.key)))
      return false;
    if (!demand.constraints.every((constraint) => satisfies(constraint, node))) return false;
    if (demand.pin && demand.pin.node !== node.name) return false;
    if (demand.maxPerNode > 0 && this.copies(node.name, service) >= demand.maxPerNode) return false;
    if (demand.affinities?.some((affinity) => affinity.required && !this.#holds(affinity, node, service))) return false;
    return demand.needs.every((need, dimension) => {
      const capacity = node.capacity[dimension]!;
      if (need === 0 || (dimension > 3 && capacity === 0)) return true;
      return this.used(node.name, dimension) + need <= capacity;
    });
  }

  /** Whether a container of the other service is in the node's domain. */
  #together({ service, within }: ServiceAffinity, node: SchedulerNode): boolean {
    const value = attributeOf(node, within);
    return value !== undefined && this.nodes.some((other) => attributeOf(other, within) === value && this.copies(other.name, service) > 0);
  }

  #holds(rule: ServiceAffinity, node: SchedulerNode, service: string): boolean {
    if (rule.apart) return !this.#together(rule, node);
    const first = rule.service === service && !this.nodes.some((other) => this.#together(rule, other));
    return first ? attributeOf(node, rule.within) !== undefined : this.#together(rule, node);
  }

  #inDomain(node: SchedulerNode, service: string, attributes: readonly string[]): number {
    const domain = (of: SchedulerNode) =>
      JSON.stringify(attributes.map((attribute) => of.labels[attribute.slice('node.labels.'.length)] ?? ''));
    return this.nodes.filter((other) => domain(other) === domain(node)).reduce((sum, other) => sum + this.copies(other.name, service), 0);
  }
}

function compare(left: readonly number[], right: readonly number[]): number {
  for (let index = 0; index < left.length; index++) if (left[index] !== right[index]) return left[index]! - right[index]!;
  return 0;
}
