import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Code, GantryError } from '@gantry/common';

const scripts = ['up', 'down', 'doctor'] as const;

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
export function local(script: (typeof scripts)[number], args: readonly string[]): number {
  const { status, signal } = spawnSync(process.execPath, [join(installation(), `deploy/src/${script}.ts`), ...args], { stdio: 'inherit' });
  return status ?? (signal === 'SIGINT' ? 130 : 1);
}
