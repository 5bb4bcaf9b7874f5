import { type Container, ListContainersRequest, ListServicesRequest, type ServiceView } from '@gantry/proto';
import { allPages, type GantryClient } from '../gantry-client.ts';
import type { Target } from './target.ts';

const everything: Target = { app: '', service: '', container: '' };

/** All containers of a target; of everything without one. */
export async function fetchContainers(client: GantryClient, target: Target = everything, all = false): Promise<Container[]> {
  const { app, service, container } = target;
  const found = await allPages(async (page) => {
    const answer = await client.containers.list(ListContainersRequest.create({ namespace: client.namespace, app, service, all, page }));
    return { items: answer.containers, nextToken: answer.nextToken };
  });
  if (container === '') return found;
  return found.filter((one) => one.id.startsWith(container) || one.name === container);
}

/** All services of an app; of every app without one. */
export function fetchServices(client: GantryClient, app = ''): Promise<ServiceView[]> {
  return allPages(async (page) => {
    const answer = await client.services.list(ListServicesRequest.create({ namespace: client.namespace, app, page }));
    return { items: answer.services, nextToken: answer.nextToken };
  });
}
