import { Code, GantryError } from '@gantry/common';
import { ApplyResponse, AppSpec, Refusal, Rollout, RolloutState, ServiceEvent, ServiceSpec, type ServiceView } from '@gantry/proto';
import { afterEach, expect, test } from 'vitest';
import { applyAndWait } from './apply.ts';
import { follow, isSettled, Outcome } from './follow.ts';
import { FakeServer } from './testing/fake-server.ts';
import { aService, watching } from './testing/records.ts';

let server: FakeServer | undefined;
afterEach(() => server?.stop());

const goal = { namespace: 'default', app: 'demo', services: new Set(['web']), exclusive: true };

async function followed(views: ServiceView[], later: ServiceView[] = [], options: Parameters<typeof follow>[2] = {}) {
  server = await FakeServer.start({ services: { watch: watching(views, later) } });
  return (await follow(server.client, goal, { timeoutMs: 5000, notPlacedAfterMs: 30, ...options })).outcome;
}

const withState = (state: RolloutState, generation = 2, init: Partial<ServiceView> = {}) =>
  aService({ rollout: Rollout.create({ state, toRevision: 2, targetRevision: 2, reason: 'it crashed' }), ...init }, generation);

test('a service is settled when all of its present revision are ready and nothing else is left', () => {
  expect(isSettled(aService())).toBe(true);
  expect(isSettled(aService({ ready: 1 }))).toBe(false);
  expect(isSettled(aService({ containers: 3 }))).toBe(false);
  expect(isSettled(aService({ updated: 1 }))).toBe(false);
  expect(isSettled(aService({ rollout: null }))).toBe(false);
  expect(isSettled(withState(RolloutState.completed, 3))).toBe(false);
  expect(isSettled(withState(RolloutState.updating))).toBe(false);
  expect(isSettled(aService({ desired: 0, ready: 0, running: 0, updated: 0, containers: 0 }))).toBe(true);
});

test('a wait ends when the last container is ready', async () => {
  await expect(followed([aService({ ready: 0 })], [aService({ ready: 1 }), aService()])).resolves.toBe(Outcome.done);
});

test('a wait ends as rolled back, paused or failed when the rollout of the present revision does', async () => {
  await expect(followed([withState(RolloutState.rolling_back)], [withState(RolloutState.rolled_back)])).resolves.toBe(Outcome.rolledBack);
  server?.stop();
  await expect(followed([withState(RolloutState.paused)])).resolves.toBe(Outcome.paused);
  server?.stop();
  await expect(followed([withState(RolloutState.failed)])).resolves.toBe(Outcome.failed);
});

test('the roll-back of an earlier revision says nothing of the present one', async () => {
  await expect(followed([withState(RolloutState.rolled_back, 3)], [aService({}, 3)])).resolves.toBe(Outcome.done);
});

test('a container that stays without a place ends the wait, one that finds it in time does not', async () => {
  const refused = aService({ ready: 1, pending: 1, refusal: Refusal.create({ message: 'no room' }) });
  await expect(followed([refused])).resolves.toBe(Outcome.notPlaced);
  server?.stop();
  await expect(followed([refused], [aService()], { notPlacedAfterMs: 4000 })).resolves.toBe(Outcome.done);
});

test('the deadline and the signal end a wait that nothing else does', async () => {
  await expect(followed([aService({ ready: 0 })], [], { timeoutMs: 50 })).resolves.toBe(Outcome.deadline);
  server?.stop();
  const controller = new AbortController();
  const wait = followed([aService({ ready: 0 })], [], { signal: controller.signal, onProgress: () => controller.abort() });
  await expect(wait).resolves.toBe(Outcome.detached);
});

test('services that are not named must be gone when the goal is exclusive', async () => {
  const old = aService();
  old.service!.key!.service = 'old';
  server = await FakeServer.start({
    services: {
      watch: async function* (_request, { signal }) {
        for (const service of [aService(), old]) yield ServiceEvent.create({ service, revision: 1 });
        yield ServiceEvent.create({ synced: true, revision: 1 });
        yield ServiceEvent.create({ service: old, removed: true, revision: 2 });
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      },
    },
  });
  let seen = 0;
  const { outcome, services } = await follow(server.client, goal, { timeoutMs: 5000, onProgress: () => seen++ });
  expect(outcome).toBe(Outcome.done);
  expect(services).toHaveLength(1);
  expect(seen).toBe(2);
});

test('a stream that breaks is opened again, an error that stays is thrown', async () => {
  let opened = 0;
  server = await FakeServer.start({
    services: {
      watch: async function* (request, context) {
        if (++opened < 3) throw new GantryError(Code.unavailable, 'the store is away');
        yield* watching([aService()])(request, context);
      },
    },
  });
  expect((await follow(server.client, goal, { timeoutMs: 10_000 })).outcome).toBe(Outcome.done);
  expect(opened).toBe(3);
  server.answers.services = {
    watch: () => {
      throw new GantryError(Code.permissionDenied, 'not yours');
    },
  };
  await expect(follow(server.client, goal)).rejects.toMatchObject({ code: Code.permissionDenied });
});

test('an apply is sent again under one key while no control plane answers, and views of older revisions are passed over', async () => {
  const keys: string[] = [];
  const app = AppSpec.create({ namespace: 'default', name: 'demo', services: [ServiceSpec.create({ name: 'web' })] });
  server = await FakeServer.start({
    apps: {
      apply: async ({ requestId }) => {
        keys.push(requestId);
        if (keys.length < 3) throw new GantryError(Code.unavailable, 'no leader');
        return ApplyResponse.create({ revision: 12 });
      },
    },
    services: {
      watch: async function* (request, context) {
        yield* watching([aService()], [], 11)(request, { signal: AbortSignal.any([context.signal, AbortSignal.timeout(20)]) });
        yield ServiceEvent.create({ service: aService({}, 2), revision: 12 });
        yield ServiceEvent.create({ service: withState(RolloutState.completed, 2), revision: 13 });
      },
    },
  });
  const { outcome, response, services } = await applyAndWait(server.client, app, { timeoutMs: 5000 });
  expect(outcome).toBe(Outcome.done);
  expect(services.map((view) => view.service?.generation)).toEqual([2]);
  expect(response.revision).toBe(12);
  expect(new Set(keys).size).toBe(1);
  expect(keys).toHaveLength(3);
});

test('an apply that is refused is not sent again', async () => {
  let calls = 0;
  server = await FakeServer.start({
    apps: {
      apply: () => {
        calls++;
        throw new GantryError(Code.invalidArgument, 'cannot accept it');
      },
    },
  });
  await expect(applyAndWait(server.client, AppSpec.create({ name: 'demo' }))).rejects.toThrow('cannot accept it');
  expect(calls).toBe(1);
});
