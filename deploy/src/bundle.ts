// npm run build: each program as a file and the parts that it loads when they are needed, which starts faster than its sources and needs no TypeScript.
import { existsSync, globSync, readFileSync, rmSync, statSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { errorText, formatBytes, GantryError } from '@gantry/common';
import { build, type Plugin } from 'esbuild';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface Program {
  entry: string;
  out: string;
  /** What is loaded later stands in files of its own, so that a start reads little. Not for CommonJS packages loaded later: their names would be lost. */
  split: boolean;
}

const programs: readonly Program[] = [
  { entry: 'client/src/cli/main.ts', out: 'client/build/gantry.mjs', split: true },
  { entry: 'control-plane/src/main.ts', out: 'control-plane/build/gantry-control-plane.mjs', split: false },
  { entry: 'node-agent/src/main.ts', out: 'node-agent/build/gantry-agent.mjs', split: false },
];

/** First lines of every bundle: CommonJS packages inside it call require; compiled code is kept for the next start. */
const banner = [
  '#!/usr/bin/env node',
  "import { createRequire as gantryCreateRequire, enableCompileCache as gantryCompileCache } from 'node:module';",
  'gantryCompileCache();',
  'const require = gantryCreateRequire(import.meta.url);',
  'const gantryFolder = import.meta.dirname;',
].join('\n');

/** CommonJS packages that read files beside their sources go on finding them: `__dirname` becomes a path from the bundle. */
function keepFolders(outFolder: string): Plugin {
  return {
    name: 'keep-folders',
    setup(context) {
      context.onLoad({ filter: /node_modules\/.*\.c?js$/ }, ({ path }) => {
        const contents = readFileSync(path, 'utf8');
        if (!/\b__(dirname|filename)\b/.test(contents) || /^\s*(import|export)\b/m.test(contents)) return undefined;
        const file = `require('node:path').join(gantryFolder, ${JSON.stringify(relative(outFolder, path))})`;
        return { contents: `var __filename = ${file}, __dirname = require('node:path').dirname(__filename);${contents}`, loader: 'js' };
      });
    },
  };
}

/**
 * Makes an ES module of a program, with what it loads later in modules of their own beside it, and source maps.
 * @returns size of the bundle in bytes.
 */
export async function bundle({ entry, out, split }: Program): Promise<number> {
  const name = basename(out, '.mjs');
  for (const old of globSync(`${dirname(out)}/${name}-*.mjs*`)) rmSync(old);
  await build({
    entryPoints: [entry],
    outdir: dirname(out),
    entryNames: name,
    chunkNames: `${name}-[hash]`,
    outExtension: { '.js': '.mjs' },
    splitting: split,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    minify: true,
    keepNames: true,
    legalComments: 'none',
    sourcemap: 'linked',
    sourcesContent: false,
    banner: { js: banner },
    logLevel: 'error',
    plugins: [keepFolders(dirname(out))],
  });
  await chmod(out, 0o755);
  return statSync(out).size;
}

async function bundleAll(): Promise<void> {
  for (const { entry, out, split } of programs) {
    if (!existsSync(join(root, entry))) {
      console.log(`bundle: ${out}: skipped, there is no ${entry}`);
      continue;
    }
    const start = performance.now();
    const size = await bundle({ entry: join(root, entry), out: join(root, out), split });
    console.log(`bundle: ${out}: ${formatBytes(size)} in ${Math.round(performance.now() - start)} ms`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    await bundleAll();
  } catch (error) {
    console.error(`bundle: ${errorText(GantryError.from(error))}`);
    process.exitCode = 1;
  }
}
