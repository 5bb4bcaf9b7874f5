import { Code, GantryError } from '@gantry/common';
import { allServices } from '@gantry/proto';
import { expect, test } from 'vitest';
import type { Identity } from './authn.ts';
import { mayUseNamespace, requireNamespace, requireRule, rules } from './authz.ts';

const operator: Identity = { kind: 'user', name: 'local', namespace: '*' };
const tenant: Identity = { kind: 'user', name: 'ann', namespace: 'shop' };
const node: Identity = { kind: 'node', name: 'n1' };
const anonymous: Identity = { kind: 'anonymous' };

function codeOf(act: () => void): Code | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    return GantryError.from(error).code;
  }
}

test('every method of every service has a rule, and every rule a method', () => {
  const paths = allServices.flatMap((service) => Object.values(service.methods).map((method) => method.path));
  expect(Object.keys(rules).sort()).toEqual(paths.sort());
});

test('without a certificate only enrolment may be called', () => {
  const open = Object.keys(rules).filter((path) => codeOf(() => requireRule(path, anonymous)) === undefined);
  expect(open).toEqual(['/gantry.v1.Agents/Enroll']);
  expect(codeOf(() => requireRule('/gantry.v1.Apps/List', anonymous))).toBe(Code.unauthenticated);
});

test('a node may call the agents service and nothing else', () => {
  const open = Object.keys(rules).filter((path) => codeOf(() => requireRule(path, node)) === undefined);
  expect(open.every((path) => path.startsWith('/gantry.v1.Agents/'))).toBe(true);
  expect(codeOf(() => requireRule('/gantry.v1.Apps/Apply', node))).toBe(Code.permissionDenied);
});

test('users cannot act as nodes, and tenants cannot act as operators', () => {
  expect(codeOf(() => requireRule('/gantry.v1.Agents/Session', operator))).toBe(Code.permissionDenied);
  expect(codeOf(() => requireRule('/gantry.v1.Nodes/Drain', tenant))).toBe(Code.permissionDenied);
  expect(codeOf(() => requireRule('/gantry.v1.Nodes/Drain', operator))).toBeUndefined();
  expect(codeOf(() => requireRule('/gantry.v1.Apps/Apply', tenant))).toBeUndefined();
});

test('an unknown path is refused for everybody, also one named like a property of objects', () => {
  for (const path of ['/gantry.v1.Apps/Nothing', 'constructor', '__proto__', '']) {
    expect(codeOf(() => requireRule(path, operator))).toBe(Code.permissionDenied);
  }
});

test('a user uses their own namespace only, an operator all', () => {
  expect(mayUseNamespace(tenant, 'shop')).toBe(true);
  expect(mayUseNamespace(tenant, 'other')).toBe(false);
  expect(mayUseNamespace(operator, 'other')).toBe(true);
  expect(mayUseNamespace(node, 'shop')).toBe(false);
  expect(codeOf(() => requireNamespace(tenant, 'other'))).toBe(Code.permissionDenied);
});
