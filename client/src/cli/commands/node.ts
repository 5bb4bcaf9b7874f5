import { Code, GantryError, newId } from '@gantry/common';
import {
  DrainNodeRequest,
  GetNodeRequest,
  Node as NodeMessage,
  NodeSettingsAvailability,
  RemoveNodeRequest,
  Taint,
  TaintEffect,
  UpdateNodeRequest,
} from '@gantry/proto';
import type { GantryClient } from '../../gantry-client.ts';
import { type Format, printRecord, write } from '../output.ts';
import { watchOperation } from './operation.ts';

/** gantry node inspect */
export async function inspectNode(client: GantryClient, name: string, format: Format): Promise<void> {
  await printRecord(format, NodeMessage.toJson(await client.nodes.get(GetNodeRequest.create({ name }))));
}

/** gantry node label NODE key=value key- */
export async function label(client: GantryClient, name: string, changes: readonly string[]): Promise<void> {
  const set: Record<string, string> = {};
  const removed: string[] = [];
  for (const change of changes) {
    const pair = /^([^=]+)=(.*)$/.exec(change);
    if (pair) set[pair[1]!] = pair[2]!;
    else if (change.endsWith('-')) removed.push(change.slice(0, -1));
    else throw new GantryError(Code.invalidArgument, `cannot read "${change}": must be key=value, or key- to remove it`);
  }
  await client.nodes.update(UpdateNodeRequest.create({ requestId: newId(), name, setLabels: set, removeLabels: removed }));
  await write(`${name} labelled\n`);
}

/** gantry node taint NODE key=value:effect key- */
export async function taint(client: GantryClient, name: string, changes: readonly string[]): Promise<void> {
  const set: Taint[] = [];
  const removed: string[] = [];
  for (const change of changes) {
    const match = /^([^=:]+)(?:=([^:]*))?:([a-z-]+)$/.exec(change);
    if (match) {
      const effect = TaintEffect[match[3]!.replaceAll('-', '_') as keyof typeof TaintEffect];
      if (effect === undefined)
        throw new GantryError(
          Code.invalidArgument,
          `cannot read "${change}": the effect must be no-schedule, prefer-no-schedule or no-execute`,
        );
      set.push(Taint.create({ key: match[1]!, value: match[2] ?? '', effect }));
    } else if (change.endsWith('-')) {
      removed.push(change.slice(0, -1));
    } else {
      throw new GantryError(Code.invalidArgument, `cannot read "${change}": must be key=value:effect, or key- to remove it`);
    }
  }
  await client.nodes.update(UpdateNodeRequest.create({ requestId: newId(), name, setTaints: set, removeTaints: removed }));
  await write(`${name} tainted\n`);
}

/** gantry node cordon | uncordon NODE */
export async function setAvailability(client: GantryClient, name: string, word: keyof typeof NodeSettingsAvailability): Promise<void> {
  const availability = NodeSettingsAvailability[word];
  await client.nodes.update(UpdateNodeRequest.create({ requestId: newId(), name, setAvailability: true, availability }));
  await write(`${name} is ${word}\n`);
}

/** gantry node rm NODE */
export async function removeNode(client: GantryClient, name: string, force: boolean): Promise<void> {
  await client.nodes.remove(RemoveNodeRequest.create({ requestId: newId(), name, force }));
  await write(`${name} removed\n`);
}

/** gantry node drain NODE; returns the exit code. */
export async function drain(
  client: GantryClient,
  name: string,
  deadlineUs: number,
  { detach, signal }: { detach: boolean; signal: AbortSignal },
): Promise<number> {
  const operation = await client.nodes.drain(DrainNodeRequest.create({ requestId: newId(), name, deadlineUs }));
  if (!detach) return watchOperation(client, operation.id, signal);
  await write(`draining ${name}; look again with: gantry operation watch ${operation.id}\n`);
  return 0;
}
