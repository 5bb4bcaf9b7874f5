import { Code, GantryError } from '@gantry/common';
import { GetContainerRequest, ListServicesRequest, ServiceKey } from '@gantry/proto';
import { allPages, type GantryClient } from '../gantry-client.ts';

/** What a word on the command line stands for. */
export interface Target {
  app: string;
  service: string;
  /** A container's name or id. */
  container: string;
}

/**
 * Reads APP, APP/SERVICE, SERVICE, APP/SERVICE.SLOT or a container's id (or unique prefix).
 * @throws GantryError notFound when nothing bears the name, failedPrecondition when several do.
 */
export async function resolveTarget(client: GantryClient, text: string): Promise<Target> {
  const path = /^([^/]+)\/([^./]+)(\.[^/]+)?$/.exec(text);
  if (path) return { app: path[1]!, service: path[2]!, container: path[3] ? text : '' };
  const services = await allPages(async (page) => {
    const answer = await client.services.list(ListServicesRequest.create({ namespace: client.namespace, page }));
    return { items: answer.services, nextToken: answer.nextToken };
  });
  const keys = services.flatMap((view) => (view.service?.key ? [view.service.key] : []));
  const named = keys.filter((key) => key.service === text);
  if (keys.some((key) => key.app === text)) return { app: text, service: '', container: '' };
  if (named.length === 1) return { app: named[0]!.app, service: text, container: '' };
  if (named.length > 1) {
    const names = named.map((key) => `${key.app}/${key.service}`).join(', ');
    throw new GantryError(Code.failedPrecondition, `cannot tell which service "${text}" is: ${names}`, {
      details: { hint: 'name it with its app' },
    });
  }
  const container = await client.containers
    .get(GetContainerRequest.create({ namespace: client.namespace, container: text }))
    .catch((error: unknown) => {
      const failure = GantryError.from(error);
      if (failure.code !== Code.notFound) throw failure;
      throw new GantryError(Code.notFound, `cannot find "${text}": no app, service or container of that name`, {
        details: { hint: 'gantry ps lists them' },
      });
    });
  return { app: container.app, service: container.service, container: container.id || container.name };
}

/** The key of a service named on the command line. */
export async function resolveService(client: GantryClient, text: string): Promise<ServiceKey> {
  const target = await resolveTarget(client, text);
  if (target.service === '' || target.container !== '') {
    throw new GantryError(Code.invalidArgument, `cannot use "${text}": a service is needed, as in app/service`);
  }
  return ServiceKey.create({ namespace: client.namespace, app: target.app, service: target.service });
}

export function keyText(key: ServiceKey | null | undefined): string {
  return key ? `${key.app}/${key.service}` : '';
}
