import {
  App,
  Assignment,
  type Codec,
  ContainerStatus,
  Gateway,
  JoinToken,
  Leader,
  Machine,
  NodeSettings,
  Operation,
  RefusalRecord,
  Revision,
  Rollout,
  RolloutRequestRecord,
  Scale,
  Service,
  Volume,
} from '@gantry/proto';
import { keys, prefixes } from '../store/keys.ts';

/** What each collection of the view holds. */
export interface CollectionTypes {
  apps: App;
  services: Service;
  revisions: Revision;
  scales: Scale;
  rollouts: Rollout;
  rolloutRequests: RolloutRequestRecord;
  assignments: Assignment;
  statuses: ContainerStatus;
  refusals: RefusalRecord;
  nodes: NodeSettings;
  machines: Machine;
  volumes: Volume;
  operations: Operation;
  gateways: Gateway;
  tokens: JoinToken;
  leader: Leader;
}
export type CollectionName = keyof CollectionTypes;

/** One record as the store has it. The value is shared: nobody changes it. */
export interface Entry<T> {
  readonly key: string;
  readonly value: T;
  readonly createRevision: number;
  readonly modRevision: number;
}

/** One change of the view; `value` is missing when the record is gone. */
export type Change = {
  [C in CollectionName]: {
    readonly collection: C;
    readonly id: string;
    readonly value: CollectionTypes[C] | undefined;
    readonly previous: CollectionTypes[C] | undefined;
    readonly modRevision: number;
  };
}[CollectionName];

interface CollectionSpec<T extends object> {
  readonly codec: Codec<T>;
  readonly prefix: string;
  /** The id of a record from what follows the prefix in its key. */
  readonly idOf: (rest: string) => string;
}

const whole = (rest: string): string => rest;
/** Keys "<node>/<container>" are known by the container's id alone. */
const afterNode = (rest: string): string => rest.slice(rest.indexOf('/') + 1);

/** Where each collection stands in the store, and how its ids and values are read. */
export const collections: { readonly [C in CollectionName]: CollectionSpec<CollectionTypes[C]> } = {
  apps: { codec: App, prefix: prefixes.apps, idOf: whole },
  services: { codec: Service, prefix: prefixes.services, idOf: whole },
  revisions: { codec: Revision, prefix: prefixes.revisions, idOf: whole },
  scales: { codec: Scale, prefix: prefixes.scales, idOf: whole },
  rollouts: { codec: Rollout, prefix: prefixes.rollouts, idOf: whole },
  rolloutRequests: { codec: RolloutRequestRecord, prefix: prefixes.rolloutRequests, idOf: whole },
  assignments: { codec: Assignment, prefix: prefixes.assignments, idOf: afterNode },
  statuses: { codec: ContainerStatus, prefix: prefixes.statuses, idOf: afterNode },
  refusals: { codec: RefusalRecord, prefix: prefixes.refusals, idOf: whole },
  nodes: { codec: NodeSettings, prefix: prefixes.nodes, idOf: whole },
  machines: { codec: Machine, prefix: prefixes.machines, idOf: whole },
  volumes: { codec: Volume, prefix: prefixes.volumes, idOf: whole },
  operations: { codec: Operation, prefix: prefixes.operations, idOf: whole },
  gateways: { codec: Gateway, prefix: prefixes.gateways, idOf: whole },
  tokens: { codec: JoinToken, prefix: prefixes.tokens, idOf: whole },
  leader: { codec: Leader, prefix: keys.leader(), idOf: () => 'leader' },
};

const byPrefix = new Map(Object.entries(collections).map(([name, spec]) => [spec.prefix, name as CollectionName]));

/** Collection and id of a key; undefined for keys that the view does not hold (configs, secrets, events, authority). */
export function locate(root: string, key: string): { collection: CollectionName; id: string } | undefined {
  const slash = key.indexOf('/', root.length);
  const prefix = slash < 0 ? key : key.slice(0, slash + 1);
  const collection = byPrefix.get(prefix);
  return collection && { collection, id: collections[collection].idOf(key.slice(prefix.length)) };
}
