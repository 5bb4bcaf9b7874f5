import { formatDuration } from '@gantry/common';
import {
  AssignmentDesired,
  type Container,
  ContainerState,
  type Event,
  type NodeScore,
  type Refusal,
  type ServiceView,
  WhyResponse,
} from '@gantry/proto';
import { type ContainerRecord, containerName } from '../cluster/container.ts';
import { serviceId } from '../cluster/view.ts';
import { notFound } from './access.ts';
import type { Api } from './context.ts';
import { resolveTarget } from './resolve.ts';
import { viewContainer, viewService } from './service-view.ts';

const eventsShown = 20;

/** Why a container is where it is, or why a service's containers have no place. */
export async function why(api: Api, namespace: string, target: string): Promise<WhyResponse> {
  const pending = pendingSlot(api, namespace, target);
  if (pending) return pending;
  const found = resolveTarget(api.view, namespace, target);
  if (found.kind === 'container') return whyContainer(api, found.record);
  if (found.kind === 'service') return whyService(api, serviceId(found.service.key!));
  const services = [...api.view.servicesOf(found.id).keys()].sort();
  const refused = services.find((id) => api.view.refusals.has(id)) ?? services[0];
  if (refused === undefined) throw notFound('service of app', target);
  return whyService(api, refused);
}

/** "app/service.slot" of a slot that has no container. */
function pendingSlot(api: Api, namespace: string, target: string): Promise<WhyResponse> | undefined {
  const match = /^([^/.]+\/[^/.]+)\.(\d+)$/.exec(target);
  const id = `${namespace}/${match?.[1]}`;
  if (!match || !api.view.services.has(id)) return undefined;
  const slot = Number(match[2]);
  const placed = [...api.view.assignmentsOf(id).values()].some(({ value }) => value.slot === slot);
  const refused = api.view.refusals.get(id)?.value.slots.includes(slot) ?? false;
  return placed || !refused ? undefined : whyService(api, id, target);
}

async function whyService(api: Api, id: string, subject?: string): Promise<WhyResponse> {
  const service = api.view.services.get(id)!.value;
  const key = service.key!;
  const shown = viewService(api, service);
  const name = subject ?? `${key.app}/${key.service}`;
  const events = await latest(api, { namespace: key.namespace, app: key.app, service: key.service, subject: '' });
  const { refusal } = shown;
  const winner = refusal ? undefined : api.view.containersOf(id).find(({ assignment }) => assignment.scores.length > 0);
  return WhyResponse.create({
    subject: name,
    summary: refusal ? refusalLine(api, name, refusal) : stateLine(name, shown),
    refusal,
    scores: winner?.assignment.scores ?? [],
    events,
    service: shown,
  });
}

function refusalLine(api: Api, name: string, refusal: Refusal): string {
  const since = refusal.since > 0 ? ` for ${formatDuration(api.clock.nowUs() - refusal.since)}` : '';
  return `${name} has no place${since}: ${refusal.message}`;
}

function stateLine(name: string, { running, desired, ready, rollout, failed }: ServiceView): string {
  const failure = failed > 0 ? `, ${failed} failed` : '';
  const reason = rollout?.reason ? `; ${rollout.reason}` : '';
  return `${name}: ${running} of ${desired} running, ${ready} ready${failure}${reason}`;
}

async function whyContainer(api: Api, record: ContainerRecord): Promise<WhyResponse> {
  const { assignment } = record;
  const { key } = assignment;
  const container = viewContainer(api, record);
  const own = api.view.services.get(serviceId(key!))?.value;
  const events = await latest(api, { namespace: key?.namespace ?? '', app: key?.app ?? '', service: key?.service ?? '', subject: '' });
  return WhyResponse.create({
    subject: containerName(assignment),
    summary: containerLine(container, assignment.scores, record),
    scores: assignment.scores,
    events: events.filter((event) => event.subject === `container/${assignment.id}` || event.subject.startsWith('service/')),
    container,
    service: own ? viewService(api, own) : null,
  });
}

function containerLine(container: Container, scores: readonly NodeScore[], { assignment }: ContainerRecord): string {
  const { name, node, reason, exitCode, restarts } = container;
  const state = Object.keys(ContainerState).find((key) => ContainerState[key as keyof typeof ContainerState] === container.state) ?? '';
  if (container.final) return `${name} is ${state} on ${node}: ${reason || `exit code ${exitCode}`}`;
  if (assignment.desired === AssignmentDesired.stop) return `${name} is stopping on ${node}: ${assignment.reason}`;
  const [best, second] = scores;
  const lead = best && second ? `, score ${best.score.toFixed(3)} before ${second.node} with ${second.score.toFixed(3)}` : '';
  const again = restarts > 0 ? `; restarted ${restarts} times, last: ${container.lastReason || `exit code ${container.lastExitCode}`}` : '';
  return `${name} is ${state} on ${node}${lead}${again}`;
}

/** The newest events, oldest first; none when they cannot be read. */
async function latest(api: Api, filter: { namespace: string; app: string; service: string; subject: string }): Promise<Event[]> {
  const events = await api.events.list({ ...filter, sinceUs: 0 }).catch(() => []);
  return events.slice(-eventsShown);
}
