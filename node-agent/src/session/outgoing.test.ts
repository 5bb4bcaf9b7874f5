import { type AgentMessage, Heartbeat, Hello, Inventory, Report, StatusBatch } from '@gantry/proto';
import { expect, test } from 'vitest';
import { Outgoing } from './outgoing.ts';

function build() {
  const batches: StatusBatch[] = [];
  const outgoing = new Outgoing(Hello.create({ node: 'n1' }), () => batches.shift());
  const sent: string[] = [];
  const reading = (async () => {
    for await (const message of outgoing) sent.push(Object.keys(message).find((key) => message[key as keyof AgentMessage])!);
  })();
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { outgoing, batches, sent, reading, settle };
}

test('nothing but the hello goes before the control plane has answered it', async () => {
  const { outgoing, batches, sent, reading, settle } = build();
  batches.push(StatusBatch.create({ sequence: 1 }));
  outgoing.acknowledgeAssignments(5);
  outgoing.report(Report.create());
  await settle();
  expect(sent).toEqual(['hello']);
  outgoing.open();
  await settle();
  expect(sent).toEqual(['hello', 'statuses', 'assignmentsAck', 'report']);
  outgoing.end();
  await reading;
});

test('a slow connection gets the newest report, heartbeat and acknowledgement, not all of them', async () => {
  const batches: StatusBatch[] = [];
  const outgoing = new Outgoing(Hello.create(), () => batches.shift());
  outgoing.open();
  for (let round = 1; round <= 100; round++) {
    outgoing.heartbeat(() => Heartbeat.create({ sequence: round }));
    outgoing.report(Report.create({ at: round }));
    outgoing.acknowledgeAssignments(round);
    outgoing.acknowledgeEndpoints(round);
    outgoing.inventory(Inventory.create({ request: round }));
  }
  const iterator = outgoing[Symbol.asyncIterator]();
  const next = async () => (await iterator.next()).value as AgentMessage;
  await next();
  expect((await next()).heartbeat).toMatchObject({ sequence: 100 });
  expect((await next()).assignmentsAck).toEqual({ revision: 100 });
  expect((await next()).endpointsAck).toEqual({ version: 100 });
  for (let request = 85; request <= 100; request++) expect((await next()).inventory).toMatchObject({ request });
  expect((await next()).report).toMatchObject({ at: 100 });
});
