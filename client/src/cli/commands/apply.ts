import { ServiceChangeKind } from '@gantry/proto';
import { applyAndWait } from '../../apply.ts';
import type { GantryClient } from '../../gantry-client.ts';
import { readManifest } from '../manifest.ts';
import { reportOutcome } from '../outcome.ts';
import { write } from '../output.ts';
import { shown } from '../progress.ts';
import { nameOf } from '../style.ts';

export interface ApplyFlags {
  file: string | undefined;
  detach: boolean;
  timeoutMs: number;
  signal: AbortSignal;
}

/** gantry apply; returns the exit code. */
export async function apply(client: GantryClient, { file, detach, timeoutMs, signal }: ApplyFlags): Promise<number> {
  const app = await readManifest(file, client.namespace);
  const result = await applyAndWait(client, app, { ...shown({ timeoutMs, signal }), detach });
  const changed = result.response.changes.filter((change) => change.kind !== ServiceChangeKind.unchanged);
  const done = changed.map((change) => `${change.service} ${nameOf(ServiceChangeKind, change.kind)}`).join(', ') || 'no change';
  if (detach) {
    const rest = changed.length > 0 ? `; goes on in the background, look again with: gantry ps ${app.name}` : '';
    await write(`${app.name}: ${done}${rest}\n`);
    return 0;
  }
  return reportOutcome(client, { name: app.name, app: app.name, done }, result);
}
