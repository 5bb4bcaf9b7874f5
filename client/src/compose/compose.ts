import { Code, GantryError } from '@gantry/common';
import type { AppSpec } from '@gantry/proto';
import { LineCounter } from 'yaml';
import { checkAgreement } from './agreement.ts';
import { app } from './app.ts';
import type { Variables } from './interpolate.ts';
import { parseTree } from './parse.ts';
import { Problems } from './problems.ts';

/** Largest manifest, in bytes. */
export const mostManifestBytes = 1 << 20;

export interface ReadComposeOptions {
  /** What errors call the manifest, "compose.yaml". */
  file: string;
  /** Values for `${NAME}`, environment without value, and configs from the environment. */
  environment: Variables;
  /** Content of a file that the manifest names (env_file, configs, secrets). @throws when it cannot be read. */
  readFile: (path: string) => Uint8Array;
}

/** What a manifest says, or everything that is wrong with it. */
export interface ReadComposeResult {
  /** Undefined when there are errors. */
  app: AppSpec | undefined;
  /** At most 20, in the order of the text, each invalidArgument with file, line and column. */
  errors: GantryError[];
  /** "file:line:column: text" */
  warnings: string[];
}

/** Reads a Compose file strictly and tells everything that is wrong with it; changes nothing and waits for nothing. */
export function examineCompose(content: Uint8Array | string, options: ReadComposeOptions): ReadComposeResult {
  const { file, environment: variables, readFile } = options;
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  const lines = new LineCounter();
  const problems = new Problems(file, lines);
  const text = decode(bytes, problems);
  const tree = text === undefined ? undefined : parseTree(text, variables, problems, lines);
  const draft = tree && app(tree, { problems, variables, readFile });
  if (draft) checkAgreement(draft, problems);
  const errors = problems.errors();
  return { app: errors.length === 0 ? draft?.spec : undefined, errors, warnings: problems.warnings() };
}

function decode(bytes: Uint8Array, problems: Problems): string | undefined {
  if (bytes.length > mostManifestBytes) {
    return problems.refuse(0, `cannot read manifest: must be at most ${mostManifestBytes} bytes, found ${bytes.length}`);
  }
  const nul = bytes.indexOf(0);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return nul < 0 ? text : problems.refuse(0, 'cannot read manifest: must be text without NUL bytes, found one', `it is byte ${nul}`);
  } catch {
    return problems.refuse(0, 'cannot read manifest: must be text in UTF-8, found other bytes');
  }
}

/**
 * Reads a Compose file strictly: every key that is not known is an error with its place.
 * @throws GantryError invalidArgument, the first of all errors; `cause` is an AggregateError of all.
 */
export function readCompose(content: Uint8Array | string, options: ReadComposeOptions): AppSpec {
  const { app: spec, errors } = examineCompose(content, options);
  if (spec) return spec;
  const first = errors[0] ?? new GantryError(Code.internal, 'cannot read manifest: no reason was found');
  throw new GantryError(first.code, first.message, { details: first.details, cause: new AggregateError(errors) });
}
