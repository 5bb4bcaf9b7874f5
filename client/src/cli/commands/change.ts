import { Code, GantryError, newId } from '@gantry/common';
import {
  DeleteAppRequest,
  DeleteServiceRequest,
  GetServiceRequest,
  RestartServiceRequest,
  ScaleRequest,
  type ServiceKey,
  type ServiceView,
  StopContainerRequest,
  UndoRequest,
} from '@gantry/proto';
import { persist } from '../../apply.ts';
import { follow, Outcome } from '../../follow.ts';
import type { GantryClient } from '../../gantry-client.ts';
import { reportOutcome } from '../outcome.ts';
import { write } from '../output.ts';
import { shown } from '../progress.ts';
import { keyText, resolveService, resolveTarget } from '../target.ts';

/** How long a command waits for what it asked for. */
export interface WaitFlags {
  detach: boolean;
  timeoutMs: number;
  signal: AbortSignal;
}

interface Wait {
  done: string;
  holds: (view: ServiceView) => boolean;
  anyRollout?: boolean;
}

/** Waits until a service is settled and the view says so; returns the exit code. */
async function settled(client: GantryClient, key: ServiceKey, flags: WaitFlags, wait: Wait): Promise<number> {
  const name = keyText(key);
  const { done, ...rest } = wait;
  if (flags.detach) {
    await write(`${name}: ${done}; goes on in the background, look again with: gantry ps ${name}\n`);
    return 0;
  }
  const goal = { namespace: key.namespace, app: key.app, services: new Set([key.service]), ...rest };
  return reportOutcome(client, { name, app: key.app, done }, await follow(client, goal, shown(flags)));
}

/** gantry scale SERVICE=N ...; returns the worst exit code. */
export async function scale(client: GantryClient, pairs: readonly string[], flags: WaitFlags): Promise<number> {
  const wanted = pairs.map((pair) => {
    const match = /^(.+)=(\d{1,9})$/.exec(pair);
    if (!match) throw new GantryError(Code.invalidArgument, `cannot read "${pair}": must be SERVICE=NUMBER`);
    return { name: match[1]!, replicas: Number(match[2]) };
  });
  const keys = await Promise.all(wanted.map(({ name }) => resolveService(client, name)));
  for (const [index, key] of keys.entries()) {
    const request = ScaleRequest.create({ requestId: newId(), key, replicas: wanted[index]!.replicas });
    await persist(() => client.services.scale(request), flags.signal);
  }
  let worst = 0;
  for (const [index, key] of keys.entries()) {
    const { replicas } = wanted[index]!;
    const holds = (view: ServiceView) => view.desired === replicas;
    worst = Math.max(worst, await settled(client, key, flags, { done: `scaled to ${replicas}`, holds, anyRollout: true }));
  }
  return worst;
}

/** gantry restart SERVICE; returns the exit code. */
export async function restart(client: GantryClient, name: string, flags: WaitFlags): Promise<number> {
  const key = await resolveService(client, name);
  const before = await client.services.get(GetServiceRequest.create({ key }));
  const request = RestartServiceRequest.create({ requestId: newId(), key });
  await persist(() => client.services.restart(request), flags.signal);
  const startedBefore = before.rollout?.startedAt ?? 0;
  // a rollout that began after the request is the one to wait for; a service without containers has none
  const holds = (view: ServiceView) => view.desired === 0 || (view.rollout?.startedAt ?? 0) > startedBefore;
  return settled(client, key, flags, { done: 'restarted', holds });
}

/** gantry rollout undo SERVICE; returns the exit code. */
export async function undo(client: GantryClient, name: string, toRevision: number, flags: WaitFlags): Promise<number> {
  const key = await resolveService(client, name);
  const request = UndoRequest.create({ requestId: newId(), key, toRevision });
  const view = await persist(() => client.services.undo(request), flags.signal);
  const generation = view.service?.generation ?? 0;
  const holds = (now: ServiceView) => (now.service?.generation ?? 0) >= generation && (now.rollout?.toRevision ?? generation) >= generation;
  return settled(client, key, flags, { done: `is at revision ${generation} now`, holds });
}

/** gantry stop CONTAINER */
export async function stop(client: GantryClient, name: string): Promise<void> {
  const target = await resolveTarget(client, name);
  if (target.container === '') {
    const hint = `gantry scale ${name}=0, or gantry rm ${name}`;
    throw new GantryError(Code.invalidArgument, `cannot stop "${name}": a container is needed`, { details: { hint } });
  }
  const request = StopContainerRequest.create({ requestId: newId(), namespace: client.namespace, container: target.container });
  const stopped = await persist(() => client.containers.stop(request));
  await write(`${stopped.name} is stopped; its service replaces it\n`);
}

export interface RemoveFlags extends WaitFlags {
  volumes: boolean;
}

/** gantry rm APP | SERVICE; returns the exit code. */
export async function remove(client: GantryClient, name: string, flags: RemoveFlags): Promise<number> {
  const { app, service, container } = await resolveTarget(client, name);
  if (container !== '') {
    const details = { hint: `gantry stop ${name}` };
    throw new GantryError(Code.invalidArgument, `cannot remove "${name}": an app or a service is needed`, { details });
  }
  const { namespace } = client;
  const requestId = newId();
  if (service === '') {
    const request = DeleteAppRequest.create({ requestId, namespace, app, removeVolumes: flags.volumes });
    await persist(() => client.apps.delete(request), flags.signal);
  } else {
    const request = DeleteServiceRequest.create({ requestId, key: { namespace, app, service } });
    await persist(() => client.services.delete(request), flags.signal);
  }
  if (flags.detach) {
    await write(`${name}: goes on in the background, look again with: gantry ps ${name}\n`);
    return 0;
  }
  const { services } = await gone(client, app, service, flags);
  const outcome = services.length === 0 ? Outcome.done : flags.signal.aborted ? Outcome.detached : Outcome.deadline;
  return reportOutcome(client, { name, app, done: 'removed' }, { outcome, services });
}

/** Waits until no service of the target exists any more; ends with those that do. */
async function gone(client: GantryClient, app: string, service: string, flags: WaitFlags): Promise<{ services: ServiceView[] }> {
  const { onProgress, ...wait } = shown(flags);
  const ofTarget = (view: ServiceView) => service === '' || view.service?.key?.service === service;
  const ended = new AbortController();
  let left: ServiceView[] = [];
  const watchAll = (views: readonly ServiceView[]) => {
    left = views.filter(ofTarget);
    if (left.length === 0) ended.abort();
    else onProgress?.(left);
  };
  const signal = AbortSignal.any([flags.signal, ended.signal]);
  const goal = { namespace: client.namespace, app, services: new Set<string>(), exclusive: true };
  const { outcome } = await follow(client, goal, { ...wait, signal, onProgress: watchAll });
  return { services: outcome === Outcome.done ? [] : left };
}
