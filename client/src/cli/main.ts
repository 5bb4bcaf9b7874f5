import { GantryError } from '@gantry/common';
import { errorBlock } from './errors.ts';
import { program } from './program.ts';

// the reader of a pipe may have seen enough: that is no failure of ours
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

try {
  await program().parseAsync();
} catch (error) {
  process.stderr.write(errorBlock(GantryError.from(error)));
  process.exitCode = 1;
}
