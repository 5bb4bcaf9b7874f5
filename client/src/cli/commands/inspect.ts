import { AppView, Container, GetAppRequest, GetContainerRequest, GetServiceRequest, ServiceView } from '@gantry/proto';
import type { GantryClient } from '../../gantry-client.ts';
import { type Format, printRecord } from '../output.ts';
import { resolveTarget, type Target } from '../target.ts';

/** gantry inspect APP | SERVICE | CONTAINER: the whole record as JSON or YAML. */
export async function inspect(client: GantryClient, name: string, format: Format): Promise<void> {
  await printRecord(format, await record(client, await resolveTarget(client, name)));
}

async function record(client: GantryClient, { app, service, container }: Target): Promise<unknown> {
  const { namespace } = client;
  if (container !== '') return Container.toJson(await client.containers.get(GetContainerRequest.create({ namespace, container })));
  if (service !== '') return ServiceView.toJson(await client.services.get(GetServiceRequest.create({ key: { namespace, app, service } })));
  return AppView.toJson(await client.apps.get(GetAppRequest.create({ namespace, app })));
}
