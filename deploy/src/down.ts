// npm run down: removes the local cluster and everything that it left in the kernel.
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { errorText, GantryError } from '@gantry/common';
import { installation, LocalCluster } from './cluster.ts';

const { values } = parseArgs({ options: { folder: { type: 'string', default: join(installation, '.gantry') } } });

try {
  const folder = resolve(values.folder);
  const cluster = LocalCluster.open(folder);
  if (cluster) {
    await cluster.remove();
    console.log('down: removed');
  } else {
    console.log(`down: no cluster in ${folder}`);
  }
} catch (error) {
  console.error(`down: ${errorText(GantryError.from(error))}`);
  process.exitCode = 1;
}
