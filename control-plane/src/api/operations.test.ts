import { GetOperationRequest, Operation } from '@gantry/proto';
import { expect, test } from 'vitest';
import { MemoryStore } from '../store/memory-store.ts';
import type { Api } from './context.ts';
import { createOperationsApi } from './operations.ts';

/** A picture that shows an operation only once it has been asked to catch up with the store. */
function lateView(operation: Operation) {
  const operations = new Map<string, { value: Operation }>();
  return {
    operations,
    atLeast: async () => {
      operations.set(operation.id, { value: operation });
    },
  };
}

test('an operation that was accepted a moment ago is found, one that never was is not', async () => {
  const operation = Operation.create({ id: '01a20b25-6b86', kind: 'drain' });
  const store = new MemoryStore();
  const handlers = createOperationsApi({ store, view: lateView(operation), guard: {} } as unknown as Api);
  const context = { signal: new AbortController().signal } as Parameters<typeof handlers.get>[1];
  await expect(handlers.get(GetOperationRequest.create({ id: operation.id }), context)).resolves.toEqual(operation);
  await expect(handlers.get(GetOperationRequest.create({ id: 'other-one' }), context)).rejects.toThrow(/cannot find operation/);
  await store.close();
});
