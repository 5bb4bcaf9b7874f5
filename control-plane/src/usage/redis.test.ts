import { silentLogger, systemClock } from '@gantry/common';
import { type Event, Usage } from '@gantry/proto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EventLog } from './event-log.ts';
import { shareEvents } from './redis-events.ts';
import { connectRedis, type RedisLink } from './redis-link.ts';
import { RedisWindows } from './redis-windows.ts';
import { startTestRedis, type TestRedis } from './testing/redis.ts';
import { pointUs, windowUs } from './windows.ts';

let server: TestRedis;
const links: RedisLink[] = [];
const ended = new AbortController();

async function open(blocking = false): Promise<RedisLink> {
  const link = await connectRedis({ address: server.address, log: silentLogger(), name: 'test', blocking });
  links.push(link);
  return link;
}

const ready = (link: RedisLink) => new Promise<void>((resolve) => (link.isReady ? resolve() : link.redis.once('ready', () => resolve())));

/** Asks again until it is so: the writers work in the background. */
async function eventually<T>(ask: () => Promise<T>, isSo: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await ask();
    if (isSo(value)) return value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const use = (cpuMillis: number, at: number) => Usage.create({ cpuMillis, at });
/** What a window answers, or nothing while Redis is away. */
const read = (windows: RedisWindows, subject: string) => windows.read(subject, 0).catch(() => undefined);

beforeAll(async () => {
  server = await startTestRedis();
});
afterAll(async () => {
  ended.abort();
  for (const link of links) link.close();
  await server.stop();
});

test('points are kept for an hour a subject, oldest first, and two gateways add up', async () => {
  const link = await open();
  await ready(link);
  const one = new RedisWindows(link, 'cp0');
  const two = new RedisWindows(link, 'cp1');
  const start = Math.floor(1_700_000_000_000_000 / pointUs) * pointUs;
  const count = windowUs / pointUs + 40;
  for (let index = 0; index < count; index++) one.add([{ subject: 'service/d/a/s', usage: use(index, start + index * pointUs) }]);
  two.add([{ subject: 'service/d/a/s', usage: use(1000, start + (count - 1) * pointUs) }]);
  const points = await eventually(
    () => one.read('service/d/a/s', 0),
    (found) => found.at(-1)?.cpuMillis === count - 1 + 1000,
  );
  expect(points.length).toBe(windowUs / pointUs);
  expect(points.map((point) => point.at)).toEqual(points.map((_, index) => points[0]!.at + index * pointUs));
  expect((await one.read('service/d/a/s', points.at(-2)!.at)).length).toBe(2);
  expect(await one.read('service/none', 0)).toEqual([]);
  expect(await link.redis.ttl('gantry:usage:service/d/a/s')).toBeGreaterThan(3600);
});

test('while Redis is away points wait, reads say so, and both go on when it is back', async () => {
  const link = await open();
  await ready(link);
  const windows = new RedisWindows(link, 'cp0');
  const closed = new Promise<void>((resolve) => link.redis.once('close', () => resolve()));
  await server.kill();
  await closed;
  windows.add([{ subject: 'node/n1', usage: use(7, pointUs) }]);
  await expect(windows.read('node/n1', 0)).rejects.toMatchObject({ code: 14 });
  expect(windows.waiting).toBe(1);
  for (let index = 0; index < 25; index++)
    windows.add(Array.from({ length: 1000 }, () => ({ subject: 'node/n2', usage: use(1, pointUs) })));
  expect(windows.waiting).toBe(20_000);
  expect(windows.dropped).toBe(5001);
  windows.add([{ subject: 'node/n3', usage: use(9, pointUs) }]);
  await server.start();
  const points = await eventually(
    () => read(windows, 'node/n3'),
    (found) => found !== undefined && found.length > 0,
  );
  expect(points).toMatchObject([{ cpuMillis: 9 }]);
  await eventually(
    async () => windows.waiting,
    (waiting) => waiting === 0,
  );
});

test('events of one control plane are seen by the other, once, also what happened before it started and during an outage', async () => {
  const any = { namespace: '', app: '', service: '', subject: '', sinceUs: 0 };
  const start = async () => {
    const events = new EventLog({ clock: systemClock });
    const [link, reader] = [await open(), await open(true)];
    void shareEvents({ events, link, reader, clock: systemClock, random: () => 0.5, signal: ended.signal });
    return { events, link };
  };
  const seen = (log: EventLog, message: string) =>
    new Promise<Event>((resolve) => {
      log.onEvent((event) => event.message === message && resolve(event));
      void log.list(any).then((events) => events.filter((event) => event.message === message).map(resolve));
    });
  const first = await start();
  await ready(first.link);
  first.events.emit({ type: 'T', message: 'before' });
  const second = await start();
  await seen(second.events, 'before');
  second.events.emit({ type: 'T', message: 'after' });
  await seen(first.events, 'after');
  const closed = new Promise<void>((resolve) => first.link.redis.once('close', () => resolve()));
  await server.kill();
  await closed;
  first.events.emit({ type: 'T', message: 'meanwhile' });
  await server.start();
  await seen(second.events, 'meanwhile');
  expect((await second.events.list(any)).map((event) => event.message)).toEqual(['before', 'after', 'meanwhile']);
});
