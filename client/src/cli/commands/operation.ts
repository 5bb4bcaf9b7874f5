import { formatDuration, GantryError, newId, sleep, systemClock } from '@gantry/common';
import { CancelOperationRequest, ListOperationsRequest, Operation, OperationState, WatchOperationRequest } from '@gantry/proto';
import { allPages, type GantryClient } from '../../gantry-client.ts';
import { type Format, print, say, write } from '../output.ts';
import { interruptedCode } from '../session.ts';
import { coloured, errorStyle, nameOf, plain, style } from '../style.ts';

/** gantry operation ls */
export async function operations(client: GantryClient, format: Format): Promise<void> {
  const rows = await allPages(async (page) => {
    const answer = await client.operations.list(ListOperationsRequest.create({ page }));
    return { items: answer.operations, nextToken: answer.nextToken };
  });
  await print(format, {
    rows,
    columns: [
      { header: 'ID', value: (one: Operation) => one.id },
      { header: 'KIND', value: (one) => one.kind },
      { header: 'SUBJECT', value: (one) => one.subject },
      { header: 'STATE', value: (one) => coloured(nameOf(OperationState, one.state)) },
      { header: 'DONE', value: (one) => `${one.done}/${one.total}`, right: true },
      { header: 'AGE', value: (one) => formatDuration(Date.now() * 1000 - one.createdAt), right: true },
      { header: 'BY', value: (one) => one.createdBy, wide: true },
      { header: 'MESSAGE', value: (one) => plain(one.message) },
    ],
    name: (one) => one.id,
    json: () => ({ operations: rows.map((one) => Operation.toJson(one)) }),
    empty: 'No operations.',
  });
}

/** gantry operation cancel */
export async function cancel(client: GantryClient, id: string): Promise<void> {
  await client.operations.cancel(CancelOperationRequest.create({ requestId: newId(), id }));
  await write(`${id}: cancel requested\n`);
}

/** Times that a broken stream is opened again before the watch is given up. */
const mostAttempts = 20;
const retryMs = 500;

/** Follows an operation to its end, also over a control plane that dies; returns the exit code. */
export async function watchOperation(client: GantryClient, id: string, signal: AbortSignal): Promise<number> {
  const shown = { line: '' };
  for (let attempt = 1; ; attempt++) {
    try {
      const code = await watchOnce(client, id, signal, shown);
      if (code !== undefined) return code;
    } catch (error) {
      const failure = GantryError.from(error);
      if (!signal.aborted && (!failure.retryable || attempt >= mostAttempts)) throw failure;
    }
    if (!signal.aborted) await sleep(systemClock, retryMs, signal).catch(() => undefined); // seen below
    if (!signal.aborted) continue;
    say(`goes on in the background; look again with: gantry operation watch ${id}`);
    return interruptedCode;
  }
}

async function watchOnce(client: GantryClient, id: string, signal: AbortSignal, shown: { line: string }): Promise<number | undefined> {
  for await (const operation of client.operations.watch(WatchOperationRequest.create({ id }), { signal })) {
    const { kind, subject, state, message } = operation;
    const line = progressLine(operation);
    if (line !== shown.line) say(line);
    shown.line = line;
    if (state === OperationState.succeeded) {
      await write(`${kind} ${subject}: ${style.green('done')}\n`);
      return 0;
    }
    if (state === OperationState.failed || state === OperationState.cancelled) {
      say(`${errorStyle.red(nameOf(OperationState, state))} ${kind} ${subject}: ${plain(message)}`);
      return 1;
    }
  }
  return undefined;
}

function progressLine({ kind, subject, state, done, total, message }: Operation): string {
  const share = total > 0 ? ` ${done}/${total}` : '';
  return `${kind} ${subject}: ${nameOf(OperationState, state)}${share}${message ? `, ${plain(message)}` : ''}`;
}
