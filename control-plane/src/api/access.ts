import { Code, GantryError } from '@gantry/common';
import type { Identity } from '../security/authn.ts';
import { requireNamespace } from '../security/authz.ts';
import { refuse } from './checks.ts';

/** Namespace of a request that names one thing; empty is the caller's own, "default" for operators. */
export function namespaceOf(identity: Identity, requested: string): string {
  const own = identity.kind === 'user' && identity.namespace !== '*' ? identity.namespace : 'default';
  const namespace = requested === '' ? own : requested;
  requireNamespace(identity, namespace);
  return namespace;
}

/** Namespace that a list or watch is narrowed to; empty is all of them, for operators only. */
export function scopeOf(identity: Identity, requested: string): string {
  return requested === '' && identity.kind === 'user' && identity.namespace === '*' ? '' : namespaceOf(identity, requested);
}

/** Name of a user as records keep it. */
export function nameOf(identity: Identity): string {
  return identity.kind === 'anonymous' ? '' : identity.name;
}

/** Said alike for what does not exist and for what the caller may not see. */
export function notFound(kind: string, name: string, hint?: string): GantryError {
  return new GantryError(Code.notFound, `cannot find ${kind} "${name.slice(0, 200)}": it must exist`, {
    details: { subject: `${kind}/${name.slice(0, 200)}`, ...(hint !== undefined && { hint }) },
  });
}

/** The message that a field must hold. */
export function required<T>(path: string, value: T | null): T {
  if (value === null) refuse(path, 'given');
  return value;
}
