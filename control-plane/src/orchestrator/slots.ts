import type { Desired } from './desired.ts';
import type { Replica } from './replica.ts';

/** A slot with all containers that stand for it. */
export interface SlotGroup {
  /** 1..n; 0 for global services. */
  readonly number: number;
  /** Global services: the node. */
  readonly node: string | undefined;
  readonly members: readonly Replica[];
  /** Containers of an earlier service of the same name that must be gone before the slot is used. */
  readonly predecessors: readonly Replica[];
}

/** The slots that should be there, and those of containers that should not. */
export function groupBySlot(
  desired: Desired,
  own: readonly Replica[],
  foreign: readonly Replica[],
  global: boolean,
): { wanted: SlotGroup[]; extra: SlotGroup[] } {
  const keyOf = ({ assignment }: Replica): string => (global ? assignment.node : String(assignment.slot));
  const members = Map.groupBy(own, keyOf);
  const predecessors = Map.groupBy(foreign, keyOf);
  const keys = global ? desired.nodes.wanted : Array.from({ length: desired.replicas }, (_, index) => String(index + 1));
  const group = (key: string): SlotGroup => ({
    number: global ? 0 : Number(key),
    node: global ? key : undefined,
    members: members.get(key) ?? [],
    predecessors: predecessors.get(key) ?? [],
  });
  const wanted = keys.map(group);
  const wantedKeys = new Set(keys);
  const extra = [...members.keys()].filter((key) => !wantedKeys.has(key)).map(group);
  return { wanted, extra };
}
