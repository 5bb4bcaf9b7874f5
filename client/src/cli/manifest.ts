import { readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Code, GantryError } from '@gantry/common';
import type { AppSpec } from '@gantry/proto';
import { examineCompose, mostManifestBytes, parseEnvFile, type Variables } from '../compose/index.ts';
import { ManifestFault } from './errors.ts';
import { say } from './output.ts';
import { errorStyle, plain } from './style.ts';

const usualNames = ['compose.yaml', 'compose.yml', 'docker-compose.yaml', 'docker-compose.yml'];

/** Content of a regular file of bounded size: a pipe would be waited for without end. */
function readBounded(path: string, mostBytes: number): Buffer {
  let fault: string;
  try {
    const { size, isFile } = inspect(path);
    if (isFile && size <= mostBytes) return readFileSync(path);
    fault = isFile ? `must be at most ${mostBytes} bytes, found ${size}` : 'must be a file';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    fault = code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'you may not read it' : (error as Error).message;
    throw new GantryError(Code.notFound, fault, { cause: error });
  }
  throw new GantryError(Code.invalidArgument, fault);
}

function inspect(path: string): { size: number; isFile: boolean } {
  const stat = statSync(path);
  return { size: stat.size, isFile: stat.isFile() };
}

/** Standard input up to a little more than a manifest may have: the reader refuses what is longer. */
async function readInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > mostManifestBytes) break;
  }
  return Buffer.concat(chunks);
}

function usualFile(): string {
  const found = usualNames.find((name) => statSync(name, { throwIfNoEntry: false })?.isFile());
  if (found !== undefined) return found;
  throw new GantryError(Code.notFound, `cannot find a manifest here: there is no ${usualNames[0]}`, {
    details: { hint: 'name one with -f FILE, or - for standard input' },
  });
}

/** Variables of the file .env beside the manifest, and of the caller's environment, which win. */
function variablesFor(folder: string): Variables {
  const path = join(folder, '.env');
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return process.env;
  try {
    return { ...parseEnvFile(readBounded(path, mostManifestBytes).toString('utf8'), process.env), ...process.env };
  } catch (error) {
    const { message, details } = GantryError.from(error);
    throw new GantryError(Code.invalidArgument, `cannot read "${path}": ${message}`, { details, cause: error });
  }
}

/**
 * Reads a manifest from a file, with "-" from standard input, or from compose.yaml here; warnings go to standard error.
 * @throws GantryError with a ManifestFault as its cause when the manifest is wrong.
 */
export async function readManifest(given: string | undefined, namespace: string): Promise<AppSpec> {
  const file = given ?? usualFile();
  const folder = file === '-' ? process.cwd() : dirname(resolve(file));
  const shown = file === '-' ? '<stdin>' : file;
  const content = file === '-' ? await readInput() : readManifestFile(file);
  const { app, errors, warnings } = examineCompose(content, {
    file: shown,
    environment: variablesFor(folder),
    readFile: (path) => readBounded(resolve(folder, path), mostManifestBytes),
  });
  for (const warning of warnings) say(`${errorStyle.yellow('warning:')} ${plain(warning)}`);
  if (app) return { ...app, namespace };
  const first = errors[0]!;
  const cause = new ManifestFault(errors, content.toString('utf8'));
  throw new GantryError(first.code, first.message, { details: first.details, cause });
}

function readManifestFile(file: string): Buffer {
  try {
    // what is too large is read as far as it takes to be refused with its place
    return readBounded(file, 64 * mostManifestBytes);
  } catch (error) {
    const { code, message } = GantryError.from(error);
    throw new GantryError(code, `cannot read manifest "${file}": ${message}`, { cause: error });
  }
}
