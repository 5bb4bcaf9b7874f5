import { Code, ManualClock } from '@gantry/common';
import { allServices, ClusterService, connect, createClient, fromStatus, VersionRequest } from '@gantry/proto';
import { Client, credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CallGuard } from './call-guard.ts';
import { startWorld, type World } from './testing/world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.close());

const raw = (value: Buffer) => value;

/** One question to the reflection service, as bytes: field 4 asks for a symbol's file, field 7 lists services. */
function reflect(client: Client, field: 4 | 7, text: string): Promise<string> {
  const call = client.makeBidiStreamRequest('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', raw, raw);
  return new Promise((resolve, reject) => {
    call.on('data', (answer: Buffer) => {
      resolve(answer.toString('latin1'));
      call.end();
    });
    call.on('error', reject);
    call.write(Buffer.concat([Buffer.from([(field << 3) | 2, text.length]), Buffer.from(text)]));
  });
}

describe('a foreign client', () => {
  test('finds the server healthy', async () => {
    const client = new Client(world.address, credentials.createInsecure());
    const answer = await new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest('/grpc.health.v1.Health/Check', raw, raw, Buffer.alloc(0), (error, value) =>
        error ? reject(error) : resolve(value!),
      );
    });
    client.close();
    // field 1, SERVING
    expect([...answer]).toEqual([8, 1]);
  });

  test('learns all services and their messages by reflection', async () => {
    const client = new Client(world.address, credentials.createInsecure());
    const services = await reflect(client, 7, '*');
    for (const { name } of allServices) expect(services).toContain(name);
    const file = await reflect(client, 4, 'gantry.v1.ApplyRequest');
    for (const message of ['ApplyRequest', 'ServiceSpec', 'FieldChange']) expect(file).toContain(message);
    client.close();
  });
});

describe('limits', () => {
  const version = (headers: Record<string, string>) => {
    const connection = connect({ address: world.address });
    return createClient(ClusterService, connection)
      .version(VersionRequest.create(), { headers: { 'x-user': 'ann@*', ...headers } })
      .finally(() => connection.close());
  };

  test('header fields of more than 16 KiB are refused', async () => {
    expect((await version({ 'x-some': 'y'.repeat(1000) })).api).toBe('gantry.v1');
    await expect(version({ 'x-more': 'y'.repeat(17 * 1024) })).rejects.toMatchObject({ code: Code.resourceExhausted });
  });

  test('a message of more than 4 MiB is refused', async () => {
    const client = new Client(world.address, credentials.createInsecure());
    const error = await new Promise<unknown>((resolve) =>
      client.makeUnaryRequest(
        '/gantry.v1.Apps/Apply',
        (value: Buffer) => value,
        (value) => value,
        Buffer.alloc(5 * 1024 * 1024),
        resolve,
      ),
    );
    client.close();
    expect(fromStatus(error).code).toBe(Code.resourceExhausted);
  });

  test('a call without a user is UNAUTHENTICATED', async () => {
    const connection = connect({ address: world.address });
    const call = createClient(ClusterService, connection).version(VersionRequest.create());
    await expect(call).rejects.toMatchObject({ code: Code.unauthenticated });
    connection.close();
  });
});

describe('CallGuard', () => {
  const ann = { kind: 'user', name: 'ann', namespace: '*' } as const;
  const bob = { kind: 'user', name: 'bob', namespace: '*' } as const;

  test('runs a call once for its key, and again after it failed; keys are of one caller and one method', async () => {
    const guard = new CallGuard(new ManualClock());
    let runs = 0;
    const run = async () => ++runs;
    expect(await Promise.all([guard.once(ann, '/a', 'k', run), guard.once(ann, '/a', 'k', run)])).toEqual([1, 1]);
    expect(await guard.once(ann, '/b', 'k', run)).toBe(2);
    expect(await guard.once(bob, '/a', 'k', run)).toBe(3);
    expect(await guard.once(ann, '/a', '', run)).toBe(4);
    await expect(guard.once(ann, '/a', 'f', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await guard.once(ann, '/a', 'f', run)).toBe(5);
    await expect(guard.once(ann, '/a', 'a b', run)).rejects.toMatchObject({ code: Code.invalidArgument });
  });

  test('slows a caller that sends too many changes, with a hint when to come again, and nobody else', async () => {
    const clock = new ManualClock();
    const guard = new CallGuard(clock);
    const call = (who: typeof ann | typeof bob) => guard.once(who, '/a', '', async () => 'done');
    for (let count = 0; count < 500; count++) await call(ann);
    await expect(call(ann)).rejects.toMatchObject({ code: Code.resourceExhausted, details: { retryAfterMs: 10 } });
    expect(await call(bob)).toBe('done');
    await clock.advance(1000);
    for (let count = 0; count < 100; count++) await call(ann);
    await expect(call(ann)).rejects.toMatchObject({ code: Code.resourceExhausted });
  });

  test('lets a caller hold 100 watches, and another one when one ends', async () => {
    const guard = new CallGuard(new ManualClock());
    async function* endless() {
      for (;;) yield 1;
    }
    const open = Array.from({ length: 100 }, () => guard.watching(ann, endless()));
    for (const watch of open) await watch.next();
    await expect(guard.watching(ann, endless()).next()).rejects.toMatchObject({ code: Code.resourceExhausted });
    await open[0]!.return();
    expect((await guard.watching(ann, endless()).next()).value).toBe(1);
  });
});
