import { createHash } from 'node:crypto';
import { type FieldChange, ServiceChangeKind as Kind, type Revision, type ServiceChangeKind, ServiceSpec } from '@gantry/proto';

type Json = Record<string, unknown>;

/** How the items of a list are told apart; lists that are not named here are compared as a whole. */
const itemKeys: Readonly<Record<string, (item: Json) => string>> = {
  ports: (port) => `${String(port.target)}/${String(port.protocol)}>${String(port.published)}`,
  mounts: (mount) => String(mount.target),
  configs: (file) => String(file.source),
  secrets: (file) => String(file.source),
  ulimits: (limit) => String(limit.name),
  dependsOn: (dependency) => String(dependency.service),
};

/** What differs between two specs of a service. */
export interface ServiceDiff {
  kind: ServiceChangeKind;
  /** By path, with both values as JSON; empty text for an absent one. */
  fields: FieldChange[];
}

/** A structural diff, field by field; before or after undefined: the service is new or goes. */
export function diffService(before: ServiceSpec | undefined, after: ServiceSpec | undefined): ServiceDiff {
  if (!before) return { kind: Kind.created, fields: [] };
  if (!after) return { kind: Kind.removed, fields: [] };
  const fields: FieldChange[] = [];
  collect(ServiceSpec.toJson(before), ServiceSpec.toJson(after), '', fields);
  if (fields.length === 0) return { kind: Kind.unchanged, fields };
  return { kind: fields.every((field) => field.path === 'replicas') ? Kind.scaled : Kind.updated, fields };
}

/** Changes of the content of configs and secrets, as "container.configs[name].content", by digest. */
export function diffFiles(before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>): FieldChange[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return names
    .filter((name) => before[name] !== undefined && after[name] !== undefined && before[name] !== after[name])
    .map((name) => {
      const [kind, file] = name.split('/');
      return { path: `container.${kind}s[${file}].content`, before: shorten(before[name]), after: shorten(after[name]) };
    });
}

function shorten(digest: string | undefined): string {
  return JSON.stringify(`sha256:${digest?.slice(0, 12) ?? ''}`);
}

function collect(before: unknown, after: unknown, path: string, changes: FieldChange[]): void {
  if (canonical(before) === canonical(after)) return;
  const field = path.slice(path.lastIndexOf('.') + 1);
  const keyOf = itemKeys[field];
  if (keyOf && Array.isArray(before) && Array.isArray(after)) {
    const [left, right] = [byKey(before as Json[], keyOf), byKey(after as Json[], keyOf)];
    collectKeys(left, right, (key) => `${path}[${key}]`, changes);
    // same items in another order
    if (changes.every((change) => !change.path.startsWith(`${path}[`))) changes.push({ path, before: text(before), after: text(after) });
  } else if (isObject(before) && isObject(after)) {
    collectKeys(before, after, (key) => (path === '' ? key : `${path}.${key}`), changes);
  } else {
    changes.push({ path, before: text(before), after: text(after) });
  }
}

function collectKeys(before: Json, after: Json, pathOf: (key: string) => string, changes: FieldChange[]): void {
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) collect(before[key], after[key], pathOf(key), changes);
}

function byKey(items: readonly Json[], keyOf: (item: Json) => string): Json {
  return Object.fromEntries(items.map((item) => [keyOf(item), item]));
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return value === undefined || value === null ? '' : JSON.stringify(value);
}

/** JSON with sorted keys and without fields at their defaults, so that a field added later changes nothing. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item)).join(',')}]`;
  if (!isObject(value)) return JSON.stringify(value) ?? '';
  const parts = Object.keys(value)
    .sort()
    .map((key) => [key, canonical(value[key])] as const)
    .filter(([, item]) => !['', 'null', '0', 'false', '""', '[]', '{}'].includes(item));
  return `{${parts.map(([key, item]) => `${JSON.stringify(key)}:${item}`).join(',')}}`;
}

/** Whether two revisions are the same but for the number of replicas. */
export function sameContent(left: Pick<Revision, 'spec' | 'fileDigests'>, right: Pick<Revision, 'spec' | 'fileDigests'>): boolean {
  const text = ({ spec, fileDigests }: typeof left) => canonical([spec && ServiceSpec.toJson({ ...spec, replicas: 0 }), fileDigests]);
  return text(left) === text(right);
}

/**
 * SHA-256 over everything that needs a new container when it changes: not what the control plane alone acts on (how many,
 * where, in which order, how to update and scale).
 */
export function containerHash(spec: ServiceSpec, fileDigests: Readonly<Record<string, string>>): string {
  const rest: ServiceSpec = {
    ...spec,
    replicas: 0,
    update: null,
    rollback: null,
    autoscale: null,
    placement: null,
    dependsOn: [],
    labels: {},
    aliases: [],
    priority: 0,
    drainUs: 0,
  };
  return createHash('sha256')
    .update(canonical(ServiceSpec.toJson(rest)))
    .update('\n')
    .update(canonical(fileDigests))
    .digest('hex');
}
