import { Code, GantryError } from '@gantry/common';
import { type Assignment, AssignmentDesired, type Service } from '@gantry/proto';
import { type ContainerRecord, containerName } from '../cluster/container.ts';
import { type ClusterView, serviceId } from '../cluster/view.ts';
import { notFound } from './access.ts';

const shortestPrefix = 2;

/** What a target names: a whole app, a service, or one container. */
export type Target =
  | { readonly kind: 'app'; readonly id: string }
  | { readonly kind: 'service'; readonly service: Service }
  | { readonly kind: 'container'; readonly record: ContainerRecord };

/**
 * A container by its id, a unique prefix of that, or its name "app/service.slot".
 * @throws GantryError notFound, failedPrecondition when a prefix fits several.
 */
export function resolveContainer(view: ClusterView, namespace: string, text: string): ContainerRecord {
  const found = findContainer(view, namespace, text);
  if (!found) throw notFound('container', text, 'see gantry ps --all');
  return found;
}

/** App, "app/service", a service's name that only one app has, a container's name, id or unique prefix. */
export function resolveTarget(view: ClusterView, namespace: string, text: string): Target {
  const service = findService(view, namespace, text);
  if (service) return { kind: 'service', service };
  if (view.apps.has(`${namespace}/${text}`)) return { kind: 'app', id: `${namespace}/${text}` };
  const record = findContainer(view, namespace, text);
  if (record) return { kind: 'container', record };
  throw notFound('app, service or container', text, 'see gantry ps --all');
}

function findContainer(view: ClusterView, namespace: string, text: string): ContainerRecord | undefined {
  const exact = view.container(text);
  if (exact && exact.assignment.key?.namespace === namespace) return exact;
  const named = newest(namedContainers(view, namespace, text));
  if (named) return view.container(named.id);
  if (!/^[0-9a-f]+$/.test(text) || text.length < shortestPrefix) return undefined;
  const fits = [...view.assignments.values()].filter(({ value }) => value.id.startsWith(text) && value.key?.namespace === namespace);
  if (fits.length > 1) {
    const names = fits.slice(0, 5).map(({ value }) => `${value.id} (${containerName(value)})`);
    throw new GantryError(
      Code.failedPrecondition,
      `cannot tell which container "${text}" is: ${fits.length} begin so, ${names.join(', ')}`,
      {
        details: { hint: 'give more digits of the id' },
      },
    );
  }
  return fits[0] && view.container(fits[0].value.id);
}

function namedContainers(view: ClusterView, namespace: string, text: string): Assignment[] {
  const dot = text.indexOf('.');
  if (dot < 0) return [];
  const service = findService(view, namespace, text.slice(0, dot));
  if (!service) return [];
  const slot = text.slice(dot + 1);
  return [...view.assignmentsOf(serviceId(service.key!)).values()]
    .map((entry) => entry.value)
    .filter((assignment) => (assignment.slot > 0 ? String(assignment.slot) : assignment.node) === slot);
}

/** Of several containers of one name the one that is to run, and of those the newest. */
function newest(assignments: readonly Assignment[]): Assignment | undefined {
  const rank = (one: Assignment) => (one.desired === AssignmentDesired.run ? 1 : 0);
  return assignments.toSorted((a, b) => rank(b) - rank(a) || b.createdAt - a.createdAt)[0];
}

function findService(view: ClusterView, namespace: string, text: string): Service | undefined {
  if (text.includes('/')) return view.services.get(`${namespace}/${text}`)?.value;
  const fits = [...view.services.values()].filter(({ value }) => value.key?.namespace === namespace && value.key.service === text);
  // an app of this name is meant before a service that several apps have
  return fits.length === 1 ? fits[0]!.value : undefined;
}
