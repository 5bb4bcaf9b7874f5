import { VersionRequest } from '@gantry/proto';
import type { GantryClient } from '../../gantry-client.ts';
import { write } from '../output.ts';

/** gantry version --server */
export async function serverVersion(client: GantryClient): Promise<void> {
  const answer = await client.cluster.version(VersionRequest.create(), { deadlineMs: 3000 });
  await write(`control plane ${answer.version}, API ${answer.api}\n`);
}
