import { Code, GantryError, silentLogger } from '@gantry/common';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Connection,
  Container,
  connect,
  createClient,
  Event,
  EventsService,
  ExecInput,
  ExecOutput,
  ExecService,
  implement,
  ListEventsRequest,
  ListEventsResponse,
  WatchEventsRequest,
} from './index.ts';

const server = new Server();
let connection: Connection;
let streamEnded: () => void = () => {};
const ended = new Promise<void>((resolve) => {
  streamEnded = resolve;
});

beforeAll(async () => {
  const options = { authorize: () => 'someone', onFailure: () => silentLogger().error('failed') };
  const events = implement(
    EventsService,
    {
      list: async (request) => {
        if (request.subject === 'bad') throw new GantryError(Code.notFound, 'cannot find "bad"', { details: { hint: 'look again' } });
        return ListEventsResponse.create({ nextToken: request.subject });
      },
      watch: async function* (_request, context) {
        context.signal.addEventListener('abort', () => streamEnded());
        for (let index = 0; ; index++) {
          yield Event.create({ id: String(index), at: Number.MAX_SAFE_INTEGER });
          await new Promise((resolve) => setImmediate(resolve));
        }
      },
    },
    options,
  );
  const exec = implement(
    ExecService,
    {
      exec: async function* (inputs) {
        for await (const input of inputs) if (input.stdin) yield ExecOutput.create({ stdout: input.stdin });
        yield ExecOutput.create({ exit: { exitCode: 7, error: '' } });
      },
    },
    options,
  );
  server.addService(events.definition, events.implementation);
  server.addService(exec.definition, exec.implementation);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  connection = connect({ address: `127.0.0.1:${port}` });
});

afterAll(() => {
  connection.close();
  server.forceShutdown();
});

test('a unary call answers with every field present', async () => {
  const answer = await createClient(EventsService, connection).list(ListEventsRequest.create({ subject: 'x' }));
  expect(answer).toEqual({ events: [], nextToken: 'x' });
});

test('an error keeps its code, message, hint and retryability over the wire', async () => {
  const failure = await createClient(EventsService, connection)
    .list(ListEventsRequest.create({ subject: 'bad' }))
    .catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(GantryError);
  expect(failure).toMatchObject({ code: Code.notFound, message: 'cannot find "bad"', details: { hint: 'look again' }, retryable: false });
});

test('leaving a stream early ends it on the server, and 64-bit numbers are exact', async () => {
  let seen = 0;
  for await (const event of createClient(EventsService, connection).watch(WatchEventsRequest.create())) {
    expect(event.at).toBe(Number.MAX_SAFE_INTEGER);
    if (++seen === 3) break;
  }
  await ended;
});

test('both directions of a bidi stream flow until the source ends', async () => {
  async function* inputs() {
    yield ExecInput.create({ stdin: Buffer.from('one') });
    yield ExecInput.create({ stdin: Buffer.from('two') });
  }
  const outputs: string[] = [];
  for await (const output of createClient(ExecService, connection).exec(inputs())) {
    outputs.push(output.stdout ? Buffer.from(output.stdout).toString() : `exit ${output.exit?.exitCode}`);
  }
  expect(outputs).toEqual(['one', 'two', 'exit 7']);
});

test('JSON shows enum names and reads back the same', () => {
  const container = Container.create({ state: 4, createdAt: 5 });
  const json = Container.toJson(container);
  expect(json).toMatchObject({ state: 'running', createdAt: 5, exitCode: 0 });
  expect(Container.fromJson(json)).toEqual(container);
});
