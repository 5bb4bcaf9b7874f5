import { Code, GantryError } from '@gantry/common';
import type { Identity } from './authn.ts';

/**
 * Who may call a method. `user`: every user; the handler checks the namespace with `requireNamespace`.
 * `operator`: users of all namespaces. `node`: agents; the handler acts for the node of the certificate only.
 */
export type Rule = 'anyone' | 'user' | 'operator' | 'node';

/** The rule of every method of every service. What is not in it is refused. */
export const rules: Readonly<Record<string, Rule>> = {
  '/gantry.v1.Apps/Apply': 'user',
  '/gantry.v1.Apps/Plan': 'user',
  '/gantry.v1.Apps/Get': 'user',
  '/gantry.v1.Apps/List': 'user',
  '/gantry.v1.Apps/Delete': 'user',
  '/gantry.v1.Services/Get': 'user',
  '/gantry.v1.Services/List': 'user',
  '/gantry.v1.Services/Watch': 'user',
  '/gantry.v1.Services/Scale': 'user',
  '/gantry.v1.Services/Delete': 'user',
  '/gantry.v1.Services/Restart': 'user',
  '/gantry.v1.Services/History': 'user',
  '/gantry.v1.Services/Undo': 'user',
  '/gantry.v1.Services/PauseRollout': 'user',
  '/gantry.v1.Services/ResumeRollout': 'user',
  '/gantry.v1.Containers/List': 'user',
  '/gantry.v1.Containers/Watch': 'user',
  '/gantry.v1.Containers/Get': 'user',
  '/gantry.v1.Containers/Why': 'user',
  '/gantry.v1.Containers/Stop': 'user',
  '/gantry.v1.Nodes/List': 'user',
  '/gantry.v1.Nodes/Get': 'user',
  '/gantry.v1.Nodes/Watch': 'user',
  '/gantry.v1.Nodes/Update': 'operator',
  '/gantry.v1.Nodes/Drain': 'operator',
  '/gantry.v1.Nodes/Remove': 'operator',
  '/gantry.v1.Nodes/CreateToken': 'operator',
  '/gantry.v1.Nodes/ListTokens': 'operator',
  '/gantry.v1.Nodes/RevokeToken': 'operator',
  '/gantry.v1.Events/List': 'user',
  '/gantry.v1.Events/Watch': 'user',
  '/gantry.v1.Logs/Read': 'user',
  '/gantry.v1.Exec/Exec': 'user',
  '/gantry.v1.Images/List': 'user',
  '/gantry.v1.Images/Pull': 'operator',
  '/gantry.v1.Operations/List': 'user',
  '/gantry.v1.Operations/Get': 'user',
  '/gantry.v1.Operations/Watch': 'user',
  '/gantry.v1.Operations/Cancel': 'operator',
  '/gantry.v1.Cluster/Version': 'user',
  '/gantry.v1.Cluster/Status': 'user',
  '/gantry.v1.Cluster/UsageHistory': 'user',
  '/gantry.v1.Agents/Enroll': 'anyone',
  '/gantry.v1.Agents/Renew': 'node',
  '/gantry.v1.Agents/Session': 'node',
  '/gantry.v1.Agents/GetFile': 'node',
  '/gantry.v1.Agents/LogStream': 'node',
  '/gantry.v1.Agents/ExecStream': 'node',
  '/gantry.v1.Agents/PullStream': 'node',
};

/** @throws GantryError unauthenticated without a certificate, permissionDenied when the rule is for others or there is none. */
export function requireRule(path: string, identity: Identity): void {
  const rule = Object.hasOwn(rules, path) ? rules[path] : undefined;
  if (rule === 'anyone') return;
  if (identity.kind === 'anonymous') {
    throw new GantryError(Code.unauthenticated, `cannot call ${path}: a client certificate of this cluster must be shown, found none`, {
      details: { hint: 'use the context file that the control plane wrote, see gantry --help' },
    });
  }
  if (rule === identity.kind) return;
  if (rule === 'operator' && identity.kind === 'user' && identity.namespace === '*') return;
  const who = `${identity.kind} "${identity.name}"`;
  throw new GantryError(Code.permissionDenied, `cannot call ${path} as ${who}: ${rule ? `only a ${rule} may` : 'nobody may'}`);
}

/** Whether a user may see and change a namespace. */
export function mayUseNamespace(identity: Identity, namespace: string): boolean {
  return identity.kind === 'user' && (identity.namespace === '*' || identity.namespace === namespace);
}

/** @throws GantryError permissionDenied unless the caller is a user of the namespace. */
export function requireNamespace(identity: Identity, namespace: string): void {
  if (mayUseNamespace(identity, namespace)) return;
  const who = identity.kind === 'anonymous' ? 'anonymous caller' : `${identity.kind} "${identity.name}"`;
  throw new GantryError(Code.permissionDenied, `cannot use namespace "${namespace}": ${who} has no access to it`);
}
