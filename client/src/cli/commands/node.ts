import { Code, formatDuration, GantryError, newId } from '@gantry/common';
import {
  CreateTokenRequest,
  DrainNodeRequest,
  GetNodeRequest,
  type JoinToken,
  ListTokensRequest,
  ListTokensResponse,
  Node as NodeMessage,
  NodeSettingsAvailability,
  type Operation,
  OperationState,
  RemoveNodeRequest,
  RevokeTokenRequest,
  Taint,
  TaintEffect,
  UpdateNodeRequest,
  WatchOperationRequest,
} from '@gantry/proto';
import { allPages, type GantryClient } from '../../gantry-client.ts';
import type { Format } from '../format.ts';
import { print, write } from '../output.ts';
import { nameOf, plain, style } from '../style.ts';

/** gantry node inspect */
export async function inspectNode(client: GantryClient, name: string, format: Format): Promise<void> {
  const node = await client.nodes.get(GetNodeRequest.create({ name }));
  await print(format === 'yaml' ? 'yaml' : 'json', {
    rows: [],
    columns: [],
    name: String,
    json: () => NodeMessage.toJson(node),
    empty: '',
  });
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

/** gantry node drain NODE: returns the exit code. */
export async function drain(
  client: GantryClient,
  name: string,
  deadlineUs: number,
  flags: { detach: boolean; signal: AbortSignal },
): Promise<number> {
  const operation = await client.nodes.drain(DrainNodeRequest.create({ requestId: newId(), name, deadlineUs }));
  if (flags.detach) {
    await write(`draining ${name}: gantry operation watch ${operation.id}\n`);
    return 0;
  }
  return watchOperation(client, operation.id, flags.signal);
}

/** Follows an operation to its end; returns the exit code. */
export async function watchOperation(client: GantryClient, id: string, signal: AbortSignal): Promise<number> {
  let shown = '';
  try {
    for await (const operation of client.operations.watch(WatchOperationRequest.create({ id }), { signal })) {
      const line = progressLine(operation);
      if (line !== shown) process.stderr.write(`${line}\n`);
      shown = line;
      if (operation.state === OperationState.succeeded) {
        await write(`${operation.kind} ${operation.subject}: ${style.green('done')}\n`);
        return 0;
      }
      if (operation.state === OperationState.failed || operation.state === OperationState.cancelled) {
        process.stderr.write(
          `${style.red(nameOf(OperationState, operation.state))} ${operation.kind} ${operation.subject}: ${plain(operation.message)}\n`,
        );
        return 1;
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  await write(`goes on in the background, look with: gantry operation watch ${id}\n`);
  return 0;
}

function progressLine(operation: Operation): string {
  return `${operation.kind} ${operation.subject}: ${nameOf(OperationState, operation.state)} ${operation.done}/${operation.total}${operation.message ? ` ${plain(operation.message)}` : ''}`;
}

/** gantry token create */
export async function createToken(client: GantryClient, ttlUs: number, uses: number, description: string): Promise<void> {
  const { token } = await client.nodes.createToken(CreateTokenRequest.create({ requestId: newId(), ttlUs, uses, description }));
  await write(`${token}\n`);
}

/** gantry token ls */
export async function listTokens(client: GantryClient, format: Format): Promise<void> {
  const rows = await allPages(async (page) => {
    const answer = await client.nodes.listTokens(ListTokensRequest.create({ page }));
    return { items: answer.tokens, nextToken: answer.nextToken };
  });
  await print(format, {
    rows,
    columns: [
      { header: 'ID', value: (one: JoinToken) => one.id },
      { header: 'USES LEFT', value: (one) => String(one.usesLeft), right: true },
      { header: 'EXPIRES IN', value: (one) => formatDuration(one.expiresAt - Date.now() * 1000), right: true },
      { header: 'DESCRIPTION', value: (one) => one.description },
    ],
    name: (one) => one.id,
    json: () => ListTokensResponse.toJson(ListTokensResponse.create({ tokens: rows })),
    empty: 'No tokens.',
  });
}

/** gantry token revoke */
export async function revokeToken(client: GantryClient, id: string): Promise<void> {
  await client.nodes.revokeToken(RevokeTokenRequest.create({ requestId: newId(), id }));
  await write(`${id} revoked\n`);
}
