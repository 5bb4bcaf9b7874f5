// Runs every suite and ends with one line: 'N passed, N failed'. `--unit`, `--native`, `--cluster` run one of them.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Counts {
  passed: number;
  failed: number;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'gantry-test-'));

interface Outcome {
  status: number;
  output: string;
}

/** Runs a command, shows what it prints as it comes and keeps it. */
function show(command: string, args: readonly string[], limitMs: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    const limit = setTimeout(() => child.kill('SIGKILL'), limitMs);
    let output = '';
    const take = (target: NodeJS.WriteStream) => (chunk: Buffer) => {
      output += chunk.toString();
      target.write(chunk);
    };
    child.stdout.on('data', take(process.stdout));
    child.stderr.on('data', take(process.stderr));
    child.on('close', (status) => {
      clearTimeout(limit);
      resolve({ status: status ?? 1, output });
    });
  });
}

async function vitest(name: string, config: string, limitMs: number): Promise<Counts> {
  const report = join(folder, `${name}.json`);
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--config',
    config,
    '--reporter=default',
    '--reporter=json',
    `--outputFile=${report}`,
  ];
  const { status } = await show(process.execPath, args, limitMs);
  try {
    const { numPassedTests, numFailedTests, numFailedTestSuites } = JSON.parse(readFileSync(report, 'utf8')) as Record<string, number>;
    const failed = (numFailedTests ?? 0) || (numFailedTestSuites ?? 0);
    return { passed: numPassedTests ?? 0, failed: failed || (status === 0 ? 0 : 1) };
  } catch {
    return { passed: 0, failed: 1 }; // it died before it could report
  }
}

/** The native suites print their own counts and, last, one line 'N passed, N failed' of all of them. */
async function native(): Promise<Counts> {
  const { status, output } = await show('make', ['-C', 'native', '--no-print-directory', 'test'], 600_000);
  const last = [...output.matchAll(/^(\d+) passed, (\d+) failed/gm)].at(-1);
  const sum = { passed: Number(last?.[1] ?? 0), failed: Number(last?.[2] ?? 1) };
  return status === 0 || sum.failed > 0 ? sum : { ...sum, failed: 1 };
}

function add(counts: readonly Counts[]): Counts {
  return counts.reduce((sum, one) => ({ passed: sum.passed + one.passed, failed: sum.failed + one.failed }), { passed: 0, failed: 0 });
}

const suites: Record<string, () => Promise<Counts>> = {
  unit: () => vitest('unit', 'vitest.config.ts', 600_000),
  native,
  cluster: () => vitest('cluster', 'test/vitest.config.ts', 900_000),
};

const asked = Object.keys(suites).filter((name) => process.argv.includes(`--${name}`));
const counts: Counts[] = [];
for (const name of asked.length > 0 ? asked : Object.keys(suites)) {
  console.log(`\n== ${name}`);
  counts.push(await suites[name]!());
}
rmSync(folder, { recursive: true, force: true });
const sum = add(counts);
console.log(`\n${sum.passed} passed, ${sum.failed} failed`);
process.exitCode = sum.failed > 0 || sum.passed === 0 ? 1 : 0;
