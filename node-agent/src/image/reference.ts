import { Code, GantryError } from '@gantry/common';
import { isDigest } from './digest.ts';

/** An image's full name. */
export interface Reference {
  /** "docker.io", "registry.example.com:5000". */
  registry: string;
  /** "library/nginx". */
  repository: string;
  /** Empty when only a digest is given. */
  tag: string;
  /** "sha256:…", empty when there is none. */
  digest: string;
}

const hostPattern = /^(?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;
const componentPattern = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;

function refuse(text: string, must: string): never {
  const shown = text.length > 300 ? `${text.slice(0, 300)}…` : text;
  throw new GantryError(Code.invalidArgument, `cannot read image "${shown}": ${must}`, {
    details: { hint: 'write [registry/]name[:tag][@sha256:digest]' },
  });
}

function namesHost(first: string): boolean {
  return first === 'localhost' || /[.:[]/.test(first);
}

function splitRegistry(text: string, name: string): [string, string] {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  if (!namesHost(first)) return ['docker.io', slash < 0 ? `library/${name}` : name];
  if (!hostPattern.test(first)) refuse(text, 'the registry must be a host with an optional port');
  const host = first.toLowerCase();
  const repository = name.slice(slash + 1);
  if (host !== 'docker.io' && host !== 'index.docker.io') return [host, repository];
  return ['docker.io', repository.includes('/') ? repository : `library/${repository}`];
}

function checkRepository(text: string, repository: string): void {
  if (repository.length > 255) refuse(text, 'the name must be at most 255 characters');
  for (const component of repository.split('/')) {
    if (!componentPattern.test(component)) refuse(text, 'a name consists of lower case letters, digits and single separators ._-');
  }
}

/**
 * Reads what a user writes and completes it as Docker does: "nginx" is docker.io/library/nginx:latest.
 * @throws GantryError invalidArgument with what must hold.
 */
export function parseReference(text: string): Reference {
  if (text.length > 1024) refuse(text, 'must be at most 1024 characters');
  const at = text.indexOf('@');
  const digest = at < 0 ? '' : text.slice(at + 1);
  if (at >= 0 && !isDigest(digest)) refuse(text, 'after "@" must follow sha256: and 64 hex digits');
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(':');
  const tagged = colon > named.lastIndexOf('/');
  const tag = tagged ? named.slice(colon + 1) : '';
  if (tagged && !tagPattern.test(tag)) refuse(text, 'a tag has at most 128 letters, digits, "_", "." and "-"');
  const [registry, repository] = splitRegistry(text, tagged ? named.slice(0, colon) : named);
  checkRepository(text, repository);
  return { registry, repository, tag: tag || (digest === '' ? 'latest' : ''), digest };
}

/** "docker.io/library/nginx:1.27@sha256:…": the one form that names an image in the store. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === '' ? '' : `:${reference.tag}`;
  const digest = reference.digest === '' ? '' : `@${reference.digest}`;
  return `${reference.registry}/${reference.repository}${tag}${digest}`;
}
