import { createHash } from 'node:crypto';
import { type FieldChange, ServiceChangeKind as Kind, type ServiceChangeKind, ServiceSpec } from '@gantry/proto';

/** What differs between two specs of a service. */
export interface ServiceDiff {
  kind: ServiceChangeKind;
  fields: FieldChange[];
}

/** Changes of these need no new container; `replicas` is told apart as `scaled`. */
const withoutNewContainer = new Set(['replicas', 'autoscale', 'update', 'rollback', 'placement', 'priority', 'dependsOn', 'restart']);

/** A structural diff, field by field; before or after undefined: the service is new or goes. */
export function diffService(before: ServiceSpec | undefined, after: ServiceSpec | undefined): ServiceDiff {
  if (!before) return { kind: Kind.created, fields: [] };
  if (!after) return { kind: Kind.removed, fields: [] };
  const fields: FieldChange[] = [];
  compare('', ServiceSpec.toJson(before), ServiceSpec.toJson(after), fields);
  if (fields.length === 0) return { kind: Kind.unchanged, fields };
  return { kind: fields.every((field) => field.path === 'replicas') ? Kind.scaled : Kind.updated, fields };
}

/** Hash over everything of a spec that a running container cannot take over: its change means new containers. */
export function containerHash(spec: ServiceSpec, fileDigests: Readonly<Record<string, string>>): string {
  const parts = Object.entries(ServiceSpec.toJson(spec)).filter(([key]) => !withoutNewContainer.has(key));
  return createHash('sha256')
    .update(canonical([Object.fromEntries(parts), fileDigests]))
    .digest('hex');
}

/** JSON with sorted keys: equal values give equal texts. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    isRecord(inner) ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1))) : inner,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function compare(path: string, before: unknown, after: unknown, fields: FieldChange[]): void {
  if (isRecord(before) && isRecord(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      compare(path === '' ? key : `${path}.${key}`, before[key], after[key], fields);
    }
    return;
  }
  const [was, is] = [text(before), text(after)];
  if (was !== is) fields.push({ path, before: was, after: is });
}

function text(value: unknown): string {
  return value === undefined || value === null ? '' : canonical(value);
}
