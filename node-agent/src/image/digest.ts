import { Code, GantryError } from '@gantry/common';

const digestPattern = /^sha256:[0-9a-f]{64}$/;

/** Whether a text is a SHA-256 digest in the one form that Gantry takes: nothing that could be a path. */
export function isDigest(text: string): boolean {
  return digestPattern.test(text);
}

/**
 * The 64 hex digits of a digest, safe as a file name.
 * @throws GantryError failedPrecondition for anything else.
 */
export function digestHex(digest: string): string {
  if (isDigest(digest)) return digest.slice('sha256:'.length);
  throw new GantryError(Code.failedPrecondition, `cannot use digest "${digest.slice(0, 100)}": must be sha256: and 64 hex digits`);
}
