import { type EventsService, type Handlers, ListEventsResponse } from '@gantry/proto';
import type { Identity } from '../security/authn.ts';
import { scopeOf } from './access.ts';
import type { Api } from './context.ts';
import { pageOf } from './paging.ts';

/** Handlers of the service Events. Events of no namespace (of nodes, of operations) are for operators. */
export function createEventsApi(api: Api): Handlers<typeof EventsService, Identity> {
  const { guard, events } = api;
  return {
    list: async ({ namespace, app, service, subject, page }, { identity }) => {
      const found = await events.list({ namespace: scopeOf(identity, namespace), app, service, subject, sinceUs: 0 });
      const sorted = found
        .map((event) => [`${String(event.at).padStart(17, '0')}/${event.id}`, event] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1));
      const { items, nextToken } = pageOf(sorted, page, ([key]) => key);
      return ListEventsResponse.create({ events: items.map(([, event]) => event), nextToken });
    },
    watch: ({ namespace, app, service, subject, since }, { identity, signal }) =>
      guard.watching(identity, events.watch({ namespace: scopeOf(identity, namespace), app, service, subject, sinceUs: since }, signal)),
  };
}
