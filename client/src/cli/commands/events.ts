import { Event, EventSeverity, GetContainerRequest, ListEventsRequest, WatchEventsRequest } from '@gantry/proto';
import { allPages, type GantryClient } from '../../gantry-client.ts';
import { type Format, print, printRecord, write } from '../output.ts';
import { plain, style } from '../style.ts';
import { resolveTarget } from '../target.ts';

/** "2026-01-02T03:04:05.678Z  NodeLost  node/n1  …" */
export function eventLine(event: Event): string {
  const time = new Date(event.at / 1000).toISOString();
  const type = event.severity === EventSeverity.warning ? style.yellow(event.type) : event.type;
  return `${style.dim(time)}  ${type}  ${event.subject}  ${plain(event.message)}`;
}

interface Filter {
  namespace: string;
  app: string;
  service: string;
  subject: string;
}

async function filterOf(client: GantryClient, text: string | undefined): Promise<Filter> {
  const { namespace } = client;
  if (text === undefined) return { namespace, app: '', service: '', subject: '' };
  const { app, service, container } = await resolveTarget(client, text);
  if (container === '') return { namespace, app, service, subject: '' };
  const { id } = await client.containers.get(GetContainerRequest.create({ namespace, container }));
  return { namespace, app: '', service: '', subject: `container/${id}` };
}

/** gantry events */
export async function events(
  client: GantryClient,
  text: string | undefined,
  format: Format,
  following: AbortSignal | undefined,
): Promise<void> {
  const filter = await filterOf(client, text);
  const found = await allPages(async (page) => {
    const answer = await client.events.list(ListEventsRequest.create({ ...filter, page }));
    return { items: answer.events, nextToken: answer.nextToken };
  });
  const ordered = found.toSorted((a, b) => a.at - b.at);
  if (following) return followEvents(client, filter, ordered, format, following);
  if (format === 'json' || format === 'yaml') return printRecord(format, { events: ordered.map((event) => Event.toJson(event)) });
  await print(format, {
    rows: ordered,
    columns: [
      { header: 'TIME', value: (event) => new Date(event.at / 1000).toISOString() },
      { header: 'TYPE', value: (event) => (event.severity === EventSeverity.warning ? style.yellow(event.type) : event.type) },
      { header: 'SUBJECT', value: (event) => event.subject },
      { header: 'NODE', value: (event) => event.node, wide: true },
      { header: 'MESSAGE', value: (event) => plain(event.message) },
    ],
    name: (event) => event.id,
    json: () => undefined,
    empty: 'No events.',
  });
}

/** As JSON it is one event a line, for programs. */
async function followEvents(
  client: GantryClient,
  filter: Filter,
  found: readonly Event[],
  format: Format,
  signal: AbortSignal,
): Promise<void> {
  const show = (event: Event) => write(`${format === 'json' ? JSON.stringify(Event.toJson(event)) : eventLine(event)}\n`);
  for (const event of found) await show(event);
  const known = new Set(found.map((event) => event.id));
  const since = found.at(-1)?.at ?? 0;
  try {
    for await (const event of client.events.watch(WatchEventsRequest.create({ ...filter, since }), { signal })) {
      if (!known.has(event.id)) await show(event);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
