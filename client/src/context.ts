import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { Code, GantryError } from '@gantry/common';

/** How to reach a cluster, and as whom: the content of a context file. */
export interface Context {
  name: string;
  /** "127.0.0.1:7400" */
  address: string;
  /** PEM texts. */
  ca: string;
  certificate: string;
  key: string;
  namespace: string;
}

export interface FindContextOptions {
  /** From --context-file; wins over everything. */
  file?: string | undefined;
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
}

/** The option, then GANTRY_CONTEXT, then .gantry/context.json here or above, then ~/.config/gantry/context.json. */
export function findContext(options: FindContextOptions = {}): string {
  const { file, env = process.env, cwd = process.cwd() } = options;
  if (file !== undefined) return file;
  if (env.GANTRY_CONTEXT) return env.GANTRY_CONTEXT;
  for (let folder = cwd; ; folder = dirname(folder)) {
    const candidate = join(folder, '.gantry/context.json');
    if (existsSync(candidate)) return candidate;
    if (folder === dirname(folder)) break;
  }
  return join(homedir(), '.config/gantry/context.json');
}

const fields = ['name', 'address', 'ca', 'certificate', 'key'] as const;

/**
 * Reads a context file.
 * @throws GantryError failedPrecondition when there is none, it is not one, or others may read its key.
 */
export function readContext(path: string): Context {
  const refuse = (must: string, cause?: unknown): never => {
    const hint = 'npm run up makes a local cluster and its context; else name one with --context-file or GANTRY_CONTEXT';
    throw new GantryError(Code.failedPrecondition, `cannot read context "${path}": ${must}`, { cause, details: { hint } });
  };
  if (!existsSync(path)) return refuse('there is no such file');
  if ((statSync(path).mode & 0o077) !== 0) return refuse('it holds a private key, so only its owner may read it; run: chmod 600');
  let content: Partial<Record<keyof Context, unknown>>;
  try {
    content = JSON.parse(readFileSync(path, 'utf8')) as typeof content;
  } catch (error) {
    return refuse('must be JSON', error);
  }
  const missing = fields.find((field) => typeof content?.[field] !== 'string' || content[field] === '');
  if (missing !== undefined) return refuse(`must have "${missing}"`);
  if (!/^.+:\d+$/.test(content.address as string)) return refuse('its address must be host:port');
  const namespace = typeof content.namespace === 'string' && content.namespace !== '' ? content.namespace : 'default';
  return { ...(content as unknown as Context), namespace };
}
