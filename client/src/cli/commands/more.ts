import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Code, formatBytes, formatDuration, GantryError, newId } from '@gantry/common';
import {
  CancelOperationRequest,
  ListImagesRequest,
  ListImagesResponse,
  ListOperationsRequest,
  ListOperationsResponse,
  type NodeImage,
  type Operation,
  OperationState,
  PullImageRequest,
  VersionRequest,
} from '@gantry/proto';
import { findContext, readContext } from '../../context.ts';
import { allPages, type GantryClient, openClient } from '../../gantry-client.ts';
import type { Format } from '../format.ts';
import { print, write } from '../output.ts';
import { nameOf, plain } from '../style.ts';

/** The folder that holds deploy/: above the bundle or above the sources. */
function installation(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, 'deploy/src/up.ts'))) return folder;
  }
  throw new GantryError(Code.failedPrecondition, "cannot find the local cluster's scripts beside this program", {
    details: { hint: 'run it from the repository: bin/gantry' },
  });
}

/** gantry up | down | doctor: returns the script's exit code. */
export function local(script: 'up' | 'down' | 'doctor', args: readonly string[]): number {
  const { status } = spawnSync(process.execPath, [join(installation(), `deploy/src/${script}.ts`), ...args], { stdio: 'inherit' });
  return status ?? 1;
}

/** gantry version --server */
export async function serverVersion(contextFile: string | undefined): Promise<void> {
  const client = openClient(readContext(findContext({ file: contextFile })));
  try {
    const answer = await client.cluster.version(VersionRequest.create(), { deadlineMs: 3000 });
    await write(`control plane ${answer.version}, API ${answer.api}\n`);
  } finally {
    client.close();
  }
}

/** gantry image ls */
export async function images(client: GantryClient, node: string, format: Format): Promise<void> {
  const rows = await allPages(async (page) => {
    const answer = await client.images.list(ListImagesRequest.create({ node, page }));
    return { items: answer.images, nextToken: answer.nextToken };
  });
  await print(format, {
    rows,
    columns: [
      { header: 'NODE', value: (one: NodeImage) => one.node },
      { header: 'IMAGE', value: (one) => one.reference },
      { header: 'DIGEST', value: (one) => one.digest.slice(0, 19) },
      { header: 'SIZE', value: (one) => formatBytes(one.sizeBytes), right: true },
    ],
    name: (one) => one.reference,
    json: () => ListImagesResponse.toJson(ListImagesResponse.create({ images: rows })),
    empty: 'No images.',
  });
}

/** gantry image pull: returns the exit code. */
export async function pull(client: GantryClient, reference: string, nodes: readonly string[]): Promise<number> {
  let failed = 0;
  for await (const progress of client.images.pull(PullImageRequest.create({ requestId: newId(), reference, nodes: [...nodes] }))) {
    if (progress.error !== '') {
      failed++;
      process.stderr.write(`${progress.node}: ${plain(progress.error)}\n`);
    } else if (progress.finished) {
      await write(`${progress.node}: ${progress.digest}\n`);
    }
  }
  return failed > 0 ? 1 : 0;
}

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
      { header: 'STATE', value: (one) => nameOf(OperationState, one.state) },
      { header: 'DONE', value: (one) => `${one.done}/${one.total}`, right: true },
      { header: 'AGE', value: (one) => formatDuration(Date.now() * 1000 - one.createdAt), right: true },
      { header: 'MESSAGE', value: (one) => plain(one.message) },
    ],
    name: (one) => one.id,
    json: () => ListOperationsResponse.toJson(ListOperationsResponse.create({ operations: rows })),
    empty: 'No operations.',
  });
}

/** gantry operation cancel */
export async function cancel(client: GantryClient, id: string): Promise<void> {
  await client.operations.cancel(CancelOperationRequest.create({ requestId: newId(), id }));
  await write(`${id}: cancel requested\n`);
}

/** gantry completion: a script for the shell that completes command names. */
export function completion(shell: string, commands: readonly string[]): string {
  const words = commands.join(' ');
  switch (shell) {
    case 'bash':
      return `_gantry() { [ "$COMP_CWORD" -eq 1 ] && COMPREPLY=($(compgen -W "${words}" -- "\${COMP_WORDS[1]}")); }\ncomplete -o default -F _gantry gantry\n`;
    case 'zsh':
      return `#compdef gantry\n_gantry() { (( CURRENT == 2 )) && compadd ${words} || _default; }\ncompdef _gantry gantry\n`;
    case 'fish':
      return `complete -c gantry -n __fish_use_subcommand -f -a "${words}"\n`;
    default:
      throw new GantryError(Code.invalidArgument, `cannot complete for "${shell}": must be bash, zsh or fish`);
  }
}
