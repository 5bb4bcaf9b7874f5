import { Code, GantryError } from '@gantry/common';
import { type Hello, Machine } from '@gantry/proto';
import type { ClusterView } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import { type Comparison, maxTransactionWrites, type Store, type Write } from '../store/store.ts';
import { type AdmissionInput, admit } from './admission.ts';
import { lowestFreeSubnet, parseRange } from './subnets.ts';

const attempts = 5;

export interface RegistrationOptions {
  store: Store;
  view: ClusterView;
  /** "10.64.0.0/12" */
  clusterCidr: string;
  /** Gives subnets to one node after the other, so that nodes that come together do not get in each other's way. */
  inTurn: <T>(work: () => Promise<T>) => Promise<T>;
}

/** The node's record as it was written, and the store's revision that shows it. */
export interface Registration {
  readonly machine: Machine;
  /** What stood there before. */
  readonly before: Machine | undefined;
  readonly revision: number;
}

/**
 * Writes the record of a node whose agent has said hello, with a subnet of its own.
 * @throws GantryError failedPrecondition for a copy of the node's identity, resourceExhausted when no subnet is free.
 */
export async function register(
  options: RegistrationOptions,
  input: Omit<AdmissionInput, 'machine' | 'newSubnet'>,
  signal: AbortSignal,
): Promise<Registration> {
  const { store, inTurn } = options;
  const { node } = input.hello;
  for (let attempt = 0; attempt < attempts; attempt++) {
    const item = await store.get(keys.machine(node));
    const before = item ? Machine.decode(item.value) : undefined;
    const compare: Comparison = { kind: 'modRevision', key: keys.machine(node), equals: item?.modRevision ?? 0 };
    const known = { ...input, machine: before };
    const written =
      before && before.subnet !== ''
        ? await write(store, [compare], admit({ ...known, newSubnet: () => before.subnet }))
        : await inTurn(() => writeWithSubnet(options, compare, known, signal));
    if (written) return { ...written, before };
  }
  throw new GantryError(Code.aborted, `cannot register node "${node}": its record keeps changing`);
}

type Written = Omit<Registration, 'before'> | undefined;

async function write(store: Store, compare: readonly Comparison[], machine: Machine, more: readonly Write[] = []): Promise<Written> {
  const writes: Write[] = [...more, { kind: 'put', key: keys.machine(machine.name), value: Machine.encode(machine) }];
  const { succeeded, revision } = await store.transact({ compare, writes });
  return succeeded ? { machine, revision } : undefined;
}

/** Gives the node a subnet; a key that changes with every subnet that is given keeps gateways from giving one twice. */
async function writeWithSubnet(
  { store, view, clusterCidr }: RegistrationOptions,
  compare: Comparison,
  input: Omit<AdmissionInput, 'newSubnet'>,
  signal: AbortSignal,
): Promise<Written> {
  const given = await store.get(keys.subnets());
  const last = given?.modRevision ?? 0;
  await view.atLeast(last, signal);
  const taken = new Set([...view.machines.values()].map((entry) => entry.value.subnet));
  const machine = admit({ ...input, newSubnet: () => lowestFreeSubnet(parseRange(clusterCidr), taken) });
  return await write(store, [compare, { kind: 'modRevision', key: keys.subnets(), equals: last }], machine, [
    { kind: 'put', key: keys.subnets(), value: Buffer.from(machine.subnet) },
  ]);
}

/**
 * Makes a node that has enrolled again a new one: its agent counts from one, and what an earlier agent of the name has said
 * no longer stands against it.
 */
export async function forgetEarlierAgent({ store, view }: Pick<RegistrationOptions, 'store' | 'view'>, node: string): Promise<void> {
  const item = await store.get(keys.machine(node));
  if (!item) return;
  const machine = Machine.create({ ...Machine.decode(item.value), epoch: 0, gateway: '' });
  const stale = [...view.assignmentsOn(node).keys()].filter((id) => view.statuses.has(id)).map((id) => keys.status(node, id));
  for (let start = 0; start < stale.length; start += maxTransactionWrites) {
    const writes = stale.slice(start, start + maxTransactionWrites).map((key): Write => ({ kind: 'delete', key }));
    await store.transact({ compare: [], writes });
  }
  await store.transact({
    compare: [{ kind: 'modRevision', key: keys.machine(node), equals: item.modRevision }],
    writes: [{ kind: 'put', key: keys.machine(node), value: Machine.encode(machine) }],
  });
}

/** Checks what every hello must have. */
export function checkHello(hello: Hello | null | undefined, node: string): Hello {
  if (!hello) throw new GantryError(Code.invalidArgument, 'cannot open the session: its first message must be a hello');
  if (hello.node !== node) {
    throw new GantryError(
      Code.permissionDenied,
      `cannot open a session for node "${hello.node.slice(0, 80)}": the certificate is of node "${node}"`,
    );
  }
  if (hello.epoch < 1) throw new GantryError(Code.invalidArgument, 'cannot open the session: the epoch must be 1 or more, found 0');
  return hello;
}
