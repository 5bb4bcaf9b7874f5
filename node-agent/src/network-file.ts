import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '@gantry/common';
import { z } from 'zod';
import type { NodeNetwork } from './network/network.ts';

const fileName = 'network.json';
const schema = z.strictObject({ subnet: z.string(), clusterCidr: z.string(), clusterDomain: z.string() });

/** The node's place in the network as it was last told, so that containers start while no control plane is in reach. */
export async function loadNodeNetwork(dataDir: string): Promise<NodeNetwork | undefined> {
  try {
    return schema.parse(JSON.parse(await readFile(join(dataDir, fileName), 'utf8')));
  } catch {
    // never told, or damaged: the control plane tells it at the next contact
    return undefined;
  }
}

/** Writes it down. */
export async function saveNodeNetwork(dataDir: string, { subnet, clusterCidr, clusterDomain }: NodeNetwork): Promise<void> {
  await writeFileAtomic(join(dataDir, fileName), JSON.stringify({ subnet, clusterCidr, clusterDomain }));
}
