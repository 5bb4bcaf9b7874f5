import { Service } from '@gantry/proto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClusterView } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { ChangeLog } from './change-log.ts';

let store: MemoryStore;
let view: ClusterView;
const ended = new AbortController();
const keyOf = (service: string) => ({ namespace: 'default', app: 'shop', service });

async function put(service: string): Promise<number> {
  const value = Service.encode(Service.create({ key: keyOf(service) }));
  const { revision } = await store.transact({ compare: [], writes: [{ kind: 'put', key: keys.service(keyOf(service)), value }] });
  await view.atLeast(revision, ended.signal);
  return revision;
}
const ids = (log: ChangeLog, revision: number) => log.since(revision)?.map((change) => change.id.split('/').at(-1));

beforeEach(async () => {
  store = new MemoryStore();
  await store.transact({
    compare: [],
    writes: [{ kind: 'put', key: keys.service(keyOf('old')), value: Service.encode(Service.create()) }],
  });
  // made before the view has anything, as a program does it
  view = new ClusterView({ store, signal: ended.signal });
});
afterEach(() => store.close());

test('knows every change after the first snapshot, and that it knows none before', async () => {
  const log = new ChangeLog(view);
  await view.synced;
  const first = view.firstRevision;
  const revision = await put('a');
  await put('b');
  expect(ids(log, first)).toEqual(['a', 'b']);
  expect(ids(log, revision)).toEqual(['b']);
  expect(ids(log, first - 1)).toBeUndefined();
});

test('forgets the oldest above its limit, and says so', async () => {
  const log = new ChangeLog(view, 2);
  await view.synced;
  const first = await put('a');
  await put('b');
  await put('c');
  expect(ids(log, first)).toEqual(['b', 'c']);
  expect(ids(log, first - 1)).toBeUndefined();
});
