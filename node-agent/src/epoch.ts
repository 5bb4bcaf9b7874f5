import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, writeFileAtomic } from '@gantry/common';

/**
 * The number of this start of the agent, larger than that of every start before it, safe on disk. When the
 * file is damaged the seconds of the wall clock are taken, which no count of starts has reached.
 */
export async function nextEpoch(dataDir: string, clock: Clock): Promise<number> {
  const path = join(dataDir, 'epoch');
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '0';
    throw error;
  });
  const last = /^\d{1,15}\n?$/.test(text) ? Number(text) : Math.floor(clock.nowUs() / 1e6);
  const epoch = last + 1;
  await writeFileAtomic(path, `${epoch}\n`);
  return epoch;
}
