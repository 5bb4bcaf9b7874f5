import {
  type ClusterService,
  ComponentStatus,
  type Handlers,
  NodeState,
  StatusResponse,
  UsageHistoryResponse,
  VersionResponse,
} from '@gantry/proto';
import { serviceId } from '../cluster/view.ts';
import type { Identity } from '../security/authn.ts';
import { namespaceOf, notFound } from './access.ts';
import { requirePlain } from './checks.ts';
import type { Api } from './context.ts';
import type { UsageSubject } from './ports.ts';
import { resolveTarget } from './resolve.ts';

const apiVersion = 'gantry.v1';
const hourUs = 3_600e6;
const shortestStepUs = 1e6;

/** Handlers of the service Cluster. */
export function createClusterApi(api: Api): Handlers<typeof ClusterService, Identity> {
  const { view } = api;
  return {
    version: async () => VersionResponse.create({ version: api.version, api: apiVersion }),
    status: async (_, { signal }) => {
      const leader = view.leader.get('leader')?.value;
      const nodes = [...view.nodes].filter(([, { value }]) => !value.removed).map(([name]) => name);
      const lead = ComponentStatus.create({
        name: 'leader',
        healthy: leader !== undefined,
        detail: leader ? `${leader.id} at ${leader.address}` : 'none',
      });
      return StatusResponse.create({
        leader: leader?.id ?? '',
        components: [lead, ...(await api.components(signal))],
        nodes: nodes.length,
        nodesReady: nodes.filter((name) => view.nodeState(name) === NodeState.ready).length,
      });
    },
    usageHistory: async ({ namespace, target, since, stepUs }, { identity, signal }) => {
      requirePlain('', { since, stepUs });
      const subject = subjectOf(api, identity, namespace, target);
      const from = since > 0 ? since : api.clock.nowUs() - hourUs;
      const points = await api.windows.history(subject, from, Math.max(stepUs, shortestStepUs), signal);
      return UsageHistoryResponse.create({ points: [...points] });
    },
  };
}

/** A node ("node/n1" or its name), a service or a container. */
function subjectOf({ view }: Api, identity: Identity, namespace: string, target: string): UsageSubject {
  const name = target.replace(/^node\//, '');
  if (view.nodes.has(name)) return { kind: 'node', name };
  const found = resolveTarget(view, namespaceOf(identity, namespace), target);
  if (found.kind === 'container') return { kind: 'container', id: found.record.assignment.id };
  if (found.kind === 'service') return { kind: 'service', id: serviceId(found.service.key!) };
  throw notFound('service or container', target, 'name a service of the app');
}
