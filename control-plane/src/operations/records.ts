import { type Clock, Code, GantryError, newId } from '@gantry/common';
import { Operation, OperationState } from '@gantry/proto';
import type { ClusterView } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import type { Store } from '../store/store.ts';

/** What a user asks for. */
interface OperationRequest {
  /** Becomes the operation's id, so that the same request has one operation; empty: a new one. */
  readonly requestId: string;
  /** "drain". */
  readonly kind: string;
  /** "node/n1". */
  readonly subject: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly createdBy: string;
}

/** Where operations are asked for; their records are read from the view. */
export interface Operations {
  /** @throws GantryError failedPrecondition when the subject has one of the kind already. */
  submit(request: OperationRequest): Promise<Operation>;
  /** Asks an operation to end; it does so at its next step. @throws GantryError notFound, failedPrecondition when it has ended. */
  cancel(id: string, by: string): Promise<Operation>;
}

/** Whether an operation goes on. */
export function isUnfinished(operation: Operation): boolean {
  return operation.state === OperationState.pending || operation.state === OperationState.running;
}

export interface OperationRecordsOptions {
  store: Store;
  view: ClusterView;
  clock: Clock;
  /** The kinds that there are. */
  kinds: readonly string[];
  /** Whether there is a queue at all. */
  enabled: boolean;
}

const attempts = 5;
const idPattern = /^[A-Za-z0-9-]{1,64}$/;

/** Operations as records in the store: what is accepted is durable before it is queued, and survives the queue. */
export function createOperations({ store, view, clock, kinds, enabled }: OperationRecordsOptions): Operations {
  return {
    submit: async ({ requestId, kind, subject, parameters, createdBy }) => {
      if (!enabled) {
        throw new GantryError(
          Code.failedPrecondition,
          `cannot start ${kind} of ${subject}: operations need Redis, and this control plane has none`,
          {
            details: { hint: 'start it with --redis HOST:PORT' },
          },
        );
      }
      if (!kinds.includes(kind))
        throw new GantryError(Code.invalidArgument, `cannot start "${kind}": it must be one of ${kinds.join(', ')}`);
      if (requestId !== '' && !idPattern.test(requestId)) {
        throw new GantryError(
          Code.invalidArgument,
          `cannot start ${kind}: the request id must be a UUID, found "${requestId.slice(0, 80)}"`,
        );
      }
      const id = requestId || newId();
      const same = await store.get(keys.operation(id));
      if (same) return Operation.decode(same.value);
      for (const { value } of view.operations.values()) {
        if (value.kind !== kind || value.subject !== subject || !isUnfinished(value)) continue;
        throw new GantryError(Code.failedPrecondition, `cannot start ${kind} of ${subject}: operation ${value.id} does so already`, {
          details: { subject: `operation/${value.id}`, hint: `gantry operation watch ${value.id}` },
        });
      }
      const now = clock.nowUs();
      const operation = Operation.create({
        id,
        kind,
        subject,
        parameters: { ...parameters },
        createdBy,
        createdAt: now,
        updatedAt: now,
        message: 'waits for its turn',
      });
      await store.transact({
        compare: [{ kind: 'createRevision', key: keys.operation(id), equals: 0 }],
        writes: [{ kind: 'put', key: keys.operation(id), value: Operation.encode(operation) }],
      });
      return operation;
    },
    cancel: async (id, by) => {
      for (let attempt = 0; attempt < attempts; attempt++) {
        const item = idPattern.test(id) ? await store.get(keys.operation(id)) : undefined;
        if (!item) throw new GantryError(Code.notFound, `cannot cancel operation "${id.slice(0, 80)}": there is none`);
        const before = Operation.decode(item.value);
        if (!isUnfinished(before)) throw new GantryError(Code.failedPrecondition, `cannot cancel operation ${id}: it has ended`);
        if (before.cancelRequested) return before;
        const operation = Operation.create({
          ...before,
          cancelRequested: true,
          updatedAt: clock.nowUs(),
          message: `${by} asked to cancel it`,
        });
        // one that nobody has begun has nothing to undo
        if (before.state === OperationState.pending)
          Object.assign(operation, { state: OperationState.cancelled, finishedAt: clock.nowUs() });
        const { succeeded } = await store.transact({
          compare: [{ kind: 'modRevision', key: keys.operation(id), equals: item.modRevision }],
          writes: [{ kind: 'put', key: keys.operation(id), value: Operation.encode(operation) }],
        });
        if (succeeded) return operation;
      }
      throw new GantryError(Code.aborted, `cannot cancel operation ${id}: its record keeps changing`);
    },
  };
}
