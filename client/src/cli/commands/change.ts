import { Code, formatDuration, GantryError, newId } from '@gantry/common';
import {
  AppView,
  Container as ContainerMessage,
  DeleteAppRequest,
  DeleteServiceRequest,
  GetAppRequest,
  GetContainerRequest,
  GetServiceRequest,
  HistoryRequest,
  HistoryResponse,
  RestartServiceRequest,
  type Revision,
  RolloutRequest,
  RolloutState,
  ScaleRequest,
  type ServiceKey,
  type ServiceView,
  ServiceView as ServiceViewMessage,
  StopContainerRequest,
  UndoRequest,
  WatchServicesRequest,
} from '@gantry/proto';
import { isSettled } from '../../apply.ts';
import { allPages, type GantryClient } from '../../gantry-client.ts';
import type { Format } from '../format.ts';
import { print, write } from '../output.ts';
import { nameOf } from '../style.ts';
import { keyText, resolveService, resolveTarget } from '../target.ts';

/** gantry scale SERVICE=N ... */
export async function scale(client: GantryClient, pairs: readonly string[], signal: AbortSignal): Promise<void> {
  const wanted = pairs.map((pair) => {
    const match = /^(.+)=(\d+)$/.exec(pair);
    if (!match) throw new GantryError(Code.invalidArgument, `cannot read "${pair}": must be SERVICE=NUMBER`);
    return { name: match[1]!, replicas: Number(match[2]) };
  });
  for (const { name, replicas } of wanted) {
    const key = await resolveService(client, name);
    await client.services.scale(ScaleRequest.create({ requestId: newId(), key, replicas }));
    await settled(client, key, signal, (view) => view.desired === replicas);
    await write(`${keyText(key)} scaled to ${replicas}\n`);
  }
}

/** Waits for the view to say so and to be settled. */
async function settled(client: GantryClient, key: ServiceKey, signal: AbortSignal, holds: (view: ServiceView) => boolean): Promise<void> {
  const { namespace, app, service } = key;
  try {
    for await (const event of client.services.watch(WatchServicesRequest.create({ namespace, app }), { signal })) {
      const view = event.service;
      if (view?.service?.key?.service === service && !event.removed && holds(view) && isSettled(view)) return;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    await write(`goes on in the background, look with: gantry ps ${app}/${service}\n`);
  }
}

/** gantry restart SERVICE */
export async function restart(client: GantryClient, name: string, signal: AbortSignal): Promise<void> {
  const key = await resolveService(client, name);
  const before = await client.services.get(GetServiceRequest.create({ key }));
  await client.services.restart(RestartServiceRequest.create({ requestId: newId(), key }));
  const startedBefore = before.rollout?.startedAt ?? 0;
  // a rollout that began after the request is the one to wait for
  await settled(
    client,
    key,
    signal,
    (view) => (view.rollout?.startedAt ?? 0) > startedBefore && view.rollout?.state !== RolloutState.updating,
  );
  await write(`${keyText(key)} restarted\n`);
}

/** gantry stop CONTAINER */
export async function stop(client: GantryClient, name: string): Promise<void> {
  const target = await resolveTarget(client, name);
  if (target.container === '')
    throw new GantryError(Code.invalidArgument, `cannot stop "${name}": a container is needed`, {
      details: { hint: `gantry scale ${name}=0, or gantry rm ${name}` },
    });
  const stopped = await client.containers.stop(
    StopContainerRequest.create({ requestId: newId(), namespace: client.namespace, container: target.container }),
  );
  await write(`${stopped.name} is stopped; its service replaces it\n`);
}

export interface RemoveFlags {
  volumes: boolean;
  signal: AbortSignal;
}

/** gantry rm APP | SERVICE */
export async function remove(client: GantryClient, name: string, flags: RemoveFlags): Promise<void> {
  const target = await resolveTarget(client, name);
  if (target.container !== '')
    throw new GantryError(Code.invalidArgument, `cannot remove "${name}": an app or a service is needed`, {
      details: { hint: `gantry stop ${name}` },
    });
  if (target.service === '') {
    await client.apps.delete(
      DeleteAppRequest.create({ requestId: newId(), namespace: client.namespace, app: target.app, removeVolumes: flags.volumes }),
    );
  } else {
    const key = { namespace: client.namespace, app: target.app, service: target.service };
    await client.services.delete(DeleteServiceRequest.create({ requestId: newId(), key }));
  }
  await gone(client, target.app, target.service, flags.signal);
  await write(`${name} removed\n`);
}

async function gone(client: GantryClient, app: string, service: string, signal: AbortSignal): Promise<void> {
  const left = new Set<string>();
  let synced = false;
  try {
    for await (const event of client.services.watch(WatchServicesRequest.create({ namespace: client.namespace, app }), { signal })) {
      synced ||= event.synced;
      const name = event.service?.service?.key?.service;
      if (name !== undefined && (service === '' || name === service)) {
        if (event.removed) left.delete(name);
        else left.add(name);
      }
      if (synced && left.size === 0) return;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** gantry inspect APP | SERVICE | CONTAINER | NODE is JSON or YAML of the whole record. */
export async function inspect(client: GantryClient, name: string, format: Format): Promise<void> {
  const target = await resolveTarget(client, name);
  const json = await record(client, target.app, target.service, target.container);
  await print(format === 'yaml' ? 'yaml' : 'json', { rows: [], columns: [], name: String, json: () => json, empty: '' });
}

async function record(client: GantryClient, app: string, service: string, container: string): Promise<unknown> {
  const { namespace } = client;
  if (container !== '') return ContainerMessage.toJson(await client.containers.get(GetContainerRequest.create({ namespace, container })));
  if (service !== '')
    return ServiceViewMessage.toJson(await client.services.get(GetServiceRequest.create({ key: { namespace, app, service } })));
  return AppView.toJson(await client.apps.get(GetAppRequest.create({ namespace, app })));
}

/** gantry rollout history SERVICE */
export async function history(client: GantryClient, name: string, format: Format): Promise<void> {
  const key = await resolveService(client, name);
  let current = 0;
  const rows = await allPages(async (page) => {
    const answer = await client.services.history(HistoryRequest.create({ key, page }));
    current = answer.current;
    return { items: answer.revisions, nextToken: answer.nextToken };
  });
  await print(format, {
    rows: rows.toSorted((a, b) => b.number - a.number),
    columns: [
      { header: 'REVISION', value: (one: Revision) => `${one.number}${one.number === current ? ' (current)' : ''}` },
      { header: 'AGE', value: (one) => formatDuration(Date.now() * 1000 - one.createdAt), right: true },
      { header: 'BY', value: (one) => one.createdBy },
      { header: 'IMAGE', value: (one) => one.spec?.container?.image ?? '' },
    ],
    name: (one) => String(one.number),
    json: () => HistoryResponse.toJson(HistoryResponse.create({ revisions: rows, current })),
    empty: 'No revisions.',
  });
}

/** gantry rollout status SERVICE */
export async function rolloutStatus(client: GantryClient, name: string): Promise<void> {
  const view = await client.services.get(GetServiceRequest.create({ key: await resolveService(client, name) }));
  const state = nameOf(RolloutState, view.rollout?.state ?? 0).replace('_', ' ');
  await write(
    `${keyText(view.service?.key)}: ${state}, ${view.updated}/${view.desired} updated, ${view.ready} ready${view.rollout?.reason ? ` (${view.rollout.reason})` : ''}\n`,
  );
}

/** gantry rollout undo SERVICE */
export async function undo(client: GantryClient, name: string, toRevision: number, signal: AbortSignal): Promise<void> {
  const key = await resolveService(client, name);
  const view = await client.services.undo(UndoRequest.create({ requestId: newId(), key, toRevision }));
  const generation = view.service?.generation ?? 0;
  await settled(client, key, signal, (now) => (now.service?.generation ?? 0) >= generation && (now.rollout?.toRevision ?? 0) >= generation);
  await write(`${keyText(key)} is at revision ${generation} now\n`);
}

/** gantry rollout pause | resume SERVICE */
export async function steer(client: GantryClient, name: string, action: 'pause' | 'resume'): Promise<void> {
  const request = RolloutRequest.create({ requestId: newId(), key: await resolveService(client, name) });
  await (action === 'pause' ? client.services.pauseRollout(request) : client.services.resumeRollout(request));
  await write(`${name}: rollout ${action}d\n`);
}
