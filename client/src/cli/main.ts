import { GantryError } from '@gantry/common';
import { errorBlock } from './errors.ts';
import { program } from './program.ts';

try {
  await program().parseAsync();
} catch (error) {
  const failure = GantryError.from(error);
  process.stderr.write(errorBlock(failure));
  process.exitCode = 1;
}
