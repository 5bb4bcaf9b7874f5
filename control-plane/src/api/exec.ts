import { Code, GantryError } from '@gantry/common';
import {
  ContainerState,
  ExecCommand,
  type ExecInput,
  type ExecOutput,
  type ExecService,
  type ExecStart,
  type Handlers,
} from '@gantry/proto';
import { containerName } from '../cluster/container.ts';
import type { Identity } from '../security/authn.ts';
import { nameOf, namespaceOf } from './access.ts';
import { limits, refuse, requireCount, requireMap, requirePlain, requireText } from './checks.ts';
import type { Api } from './context.ts';
import { resolveContainer } from './resolve.ts';
import { viewContainer } from './service-view.ts';

const commandBytes = 128 * 1024;

/** Handlers of the service Exec. */
export function createExecApi(api: Api): Handlers<typeof ExecService, Identity> {
  return { exec: (requests, { identity, signal }) => api.guard.watching(identity, exec(api, identity, requests, signal)) };
}

async function* exec(
  api: Api,
  identity: Identity,
  requests: AsyncIterable<ExecInput>,
  signal: AbortSignal,
): AsyncGenerator<ExecOutput, void, void> {
  const inputs = requests[Symbol.asyncIterator]();
  const first = await inputs.next();
  const start = first.done ? undefined : first.value.start;
  if (!start) refuse('start', 'the first message');
  checkStart(start);
  const namespace = namespaceOf(identity, start.namespace);
  const record = resolveContainer(api.view, namespace, start.container);
  const { id, node, key } = record.assignment;
  const container = viewContainer(api, record);
  if (container.state !== ContainerState.running) {
    const state = Object.keys(ContainerState).find((name) => ContainerState[name as keyof typeof ContainerState] === container.state);
    throw new GantryError(Code.failedPrecondition, `cannot run a command in "${container.name}": it must be running, found ${state}`, {
      details: { subject: `container/${id}` },
    });
  }
  const message = `"${start.command[0]?.slice(0, 80)}" run in ${containerName(record.assignment)} (${id}) by ${nameOf(identity)}`;
  api.emit({
    type: 'ContainerExec',
    namespace,
    app: key?.app ?? '',
    service: key?.service ?? '',
    node,
    subject: `container/${id}`,
    message,
  });
  const command = ExecCommand.create({ containerId: id, start: { ...start, namespace, container: id } });
  yield* api.streams.exec(node, command, rest(inputs), signal);
}

/** What follows the first message; leaving it early must not end the call, whose answers go on. */
function rest(inputs: AsyncIterator<ExecInput>): AsyncIterable<ExecInput> {
  return { [Symbol.asyncIterator]: () => ({ next: () => inputs.next() }) };
}

function checkStart(start: ExecStart): void {
  requirePlain('start', start);
  if (start.command.length === 0) refuse('start.command', 'a command');
  requireCount('start.command', start.command, limits.words);
  for (const word of start.command) requireText('start.command', word, commandBytes);
  requireMap('start.environment', start.environment, limits.environmentEntries, limits.environmentBytes);
  requireText('start.user', start.user, 255);
  requireText('start.workingDir', start.workingDir);
  if (start.workingDir !== '' && !start.workingDir.startsWith('/')) refuse('start.workingDir', 'an absolute path', start.workingDir);
}
