import type { ServiceKey } from '@gantry/proto';

/** Every key of Gantry stands below this. Each function names the one part that writes the key. */
export const root = '/gantry/v1/';

const service = (key: ServiceKey): string => `${key.namespace}/${key.app}/${key.service}`;

export const keys = {
  /** Writer: api. */
  app: (namespace: string, app: string): string => `${root}apps/${namespace}/${app}`,
  /** Writer: api; removed by the orchestrator once a deleted service's last container is gone. */
  service: (key: ServiceKey): string => `${root}services/${service(key)}`,
  /** Writer: api. Numbers are padded so that they sort. */
  revision: (key: ServiceKey, number: number): string => `${root}revisions/${service(key)}/${String(number).padStart(10, '0')}`,
  /** Writer: autoscaler. */
  scale: (key: ServiceKey): string => `${root}scale/${service(key)}`,
  /** Writer: orchestrator. */
  rollout: (key: ServiceKey): string => `${root}rollouts/${service(key)}`,
  /** Writer: api; a user's request to pause, resume or restart, which the orchestrator acts on. */
  rolloutRequest: (key: ServiceKey): string => `${root}rollout-requests/${service(key)}`,
  /** Writer: planner (orchestrator and scheduler commit it); api marks a user's wish to stop one. */
  assignment: (node: string, container: string): string => `${root}assignments/${node}/${container}`,
  /** Writer: gateway. */
  status: (node: string, container: string): string => `${root}status/${node}/${container}`,
  /** Writer: planner; the newest refusal of a service's pending containers. */
  refusal: (key: ServiceKey): string => `${root}refusals/${service(key)}`,
  /** Writer: planner; changes after each commit of unknown outcome, so that it cannot land late. */
  planner: (): string => `${root}planner`,
  /** Writer: api. */
  node: (node: string): string => `${root}nodes/${node}`,
  /** Writer: gateway. */
  machine: (node: string): string => `${root}machines/${node}`,
  /** Writer: gateway; changes with every subnet that is given to a node. */
  subnets: (): string => `${root}subnets`,
  /** Writer: gateway. */
  gateway: (id: string): string => `${root}gateways/${id}`,
  /** Writer: api makes it, planner binds it to a node. */
  volume: (namespace: string, app: string, volume: string): string => `${root}volumes/${namespace}/${app}/${volume}`,
  /** Writer: api. */
  config: (namespace: string, app: string, name: string, digest: string): string => `${root}configs/${namespace}/${app}/${name}/${digest}`,
  /** Writer: api. */
  secret: (namespace: string, app: string, name: string, digest: string): string => `${root}secrets/${namespace}/${app}/${name}/${digest}`,
  /** Writer: api; which service publishes a port of the cluster, so that two never do. */
  port: (protocol: 'tcp' | 'udp', port: number): string => `${root}ports/${protocol}/${port}`,
  /** Writer: api; uses are counted down by the enrolment. */
  token: (id: string): string => `${root}tokens/${id}`,
  /** Writer: operations. */
  operation: (id: string): string => `${root}operations/${id}`,
  /** Writer: operations (api marks a wish to cancel through it). */
  event: (id: string): string => `${root}events/${id}`,
  /** Writer: leader.ts. */
  leader: (): string => `${root}leader`,
  /** Writer: security; the CA's certificate and its sealed key. */
  authority: (): string => `${root}authority`,
  /** Writer: leader.ts; compaction marker. */
  marker: (): string => `${root}marker`,
} as const;

/** Prefixes to list and watch. */
export const prefixes = {
  apps: `${root}apps/`,
  services: `${root}services/`,
  revisions: `${root}revisions/`,
  scales: `${root}scale/`,
  rollouts: `${root}rollouts/`,
  rolloutRequests: `${root}rollout-requests/`,
  assignments: `${root}assignments/`,
  assignmentsOf: (node: string): string => `${root}assignments/${node}/`,
  statuses: `${root}status/`,
  statusesOf: (node: string): string => `${root}status/${node}/`,
  refusals: `${root}refusals/`,
  nodes: `${root}nodes/`,
  machines: `${root}machines/`,
  gateways: `${root}gateways/`,
  volumes: `${root}volumes/`,
  tokens: `${root}tokens/`,
  operations: `${root}operations/`,
  events: `${root}events/`,
  configsOf: (namespace: string, app: string): string => `${root}configs/${namespace}/${app}/`,
  secretsOf: (namespace: string, app: string): string => `${root}secrets/${namespace}/${app}/`,
  revisionsOf: (key: ServiceKey): string => `${root}revisions/${service(key)}/`,
} as const;
