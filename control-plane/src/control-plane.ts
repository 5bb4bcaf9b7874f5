import { access } from 'node:fs/promises';
import { connect } from 'node:net';
import { type Clock, Code, GantryError, type Logger } from '@gantry/common';
import { AgentsService, type ImplementOptions, implement, Resources } from '@gantry/proto';
import type { Server } from '@grpc/grpc-js';
import type { UsageSource } from './api/ports.ts';
import { createServer, createUserServices, requireModestMetadata } from './api/server.ts';
import { ClusterView, serviceId } from './cluster/view.ts';
import { type Config, hostOf } from './config.ts';
import { createAgentsHandlers } from './gateway/agents-service.ts';
import { Gateway } from './gateway/gateway.ts';
import type { GatewayOptions } from './gateway/ports.ts';
import type { NodeReport } from './gateway/usage-table.ts';
import { createMetrics } from './http/metrics.ts';
import { type HttpServer, startHttpServer } from './http/server.ts';
import { executors, lead } from './leading.ts';
import { components, figures, type ObserveOptions } from './observe.ts';
import { createOperations } from './operations/records.ts';
import { ClusterScheduler } from './scheduler/scheduler.ts';
import type { Identity } from './security/authn.ts';
import { type ClusterSecurity, ensureBootstrapToken, openSecurity } from './security/cluster-security.ts';
import { ensureContextFile } from './security/context-file.ts';
import { EtcdStore } from './store/etcd-store.ts';
import type { Store } from './store/store.ts';
import { createEstimates } from './usage/estimates.ts';
import { EventLog } from './usage/event-log.ts';
import { openHistory } from './usage/history.ts';

/** What the process gives to its control plane. */
export interface Surroundings {
  log: Logger;
  clock: Clock;
  /** Between 0 and 1. */
  random: () => number;
  /** Gives up a start; a control plane that has started is ended by `stop`. */
  signal: AbortSignal;
  /** In place of etcd, for tests. */
  store?: Store;
}

/** A control plane that listens. */
export interface ControlPlane {
  /** The first address of the gRPC port, with the port that it was given. */
  readonly address: string;
  readonly httpPort: number;
  /** Resolves once it has read the store and serves all calls. */
  readonly ready: Promise<void>;
  stop(): Promise<void>;
}

const shutdownMs = 1000;
/** Of this program. */
export const version = '0.1.0';

/** Builds all parts and plugs them together; nothing else knows them all. */
export async function startControlPlane(config: Config, surroundings: Surroundings): Promise<ControlPlane> {
  const { log, clock, random } = surroundings;
  const ended = new AbortController();
  const signal = AbortSignal.any([surroundings.signal, ended.signal]);
  const store = surroundings.store ?? new EtcdStore({ hosts: config.etcd, clock, random });
  const view = new ClusterView({
    store,
    signal: ended.signal,
    onUnreadable: (key, error) => log.error({ key, err: error.message }, 'cannot read a record: it is left out'),
  });
  const address = config.advertise || config.listen[0]!;
  const security = await openSecurity({
    store,
    clock,
    log,
    random,
    dataDir: config.dataDir,
    hosts: [...new Set([...config.listen, address].map(hostOf))].filter((host) => host !== '0.0.0.0' && host !== '::'),
    nodes: {
      get ready() {
        return view.revision > 0;
      },
      settings: (name) => view.nodes.get(name)?.value,
    },
    signal,
  });
  const events = new EventLog({ clock });
  const emit = events.emit.bind(events);
  const history = await openHistory({
    ...{ redis: config.redis, id: config.id, clock, log, random, events, signal: ended.signal },
    serviceOf: (id) => {
      const key = view.assignments.get(id)?.value.key;
      return key ? serviceId(key) : undefined;
    },
    isShared: () => view.gateways.size > 1,
    learn: (report) => measured.learn(report),
  });
  const gatewayOptions: GatewayOptions = {
    ...{ id: config.id, address, store, view, clock, log, random, emit },
    enrolment: security.enrolment,
    openSecret: (sealed, context) => security.sealer.open(sealed, context),
    clusterCidr: config.clusterCidr,
    clusterDomain: config.clusterDomain,
  };
  const gateway = new Gateway(gatewayOptions);
  gateway.usage.onReport((report) => history.record(report));
  const measured = measureUsage({ view, clock, gateway });
  const scheduler = new ClusterScheduler({ view, clock, strategy: config.strategy, signal: ended.signal });

  const observed: ObserveOptions = { config, store, view, gateway, history, events };
  const operations = createOperations({ store, view, clock, kinds: Object.keys(executors), enabled: config.redis !== '' });
  const calls = callOptions(security, view, log);
  const { server, setServing } = createServer([
    implement(AgentsService, createAgentsHandlers(gateway, gatewayOptions), calls),
    ...createUserServices(
      {
        ...{ store, view, clock, log, events, emit, operations, version, usage: measured.usage },
        streams: gateway.streams,
        planner: scheduler,
        windows: history,
        tokens: security.tokens,
        sealer: security.sealer,
        components: () => components(observed),
      },
      calls,
    ),
  ]);
  const bound = await bind(server, config.listen, security);
  const http = await serveHttp(observed, log);
  const leading = lead({
    ...{ store, view, scheduler, clock, log, random, emit, signal, address },
    id: config.id,
    redis: config.redis,
    usage: gateway.usage,
  });
  leading.catch((error: unknown) => {
    if (!signal.aborted) log.error({ err: GantryError.from(error) }, 'cannot lead any more');
  });

  const ready = prepare(config, { security, view, clock, address: bound });
  ready.then(
    () => setServing(true),
    () => {
      // one that is stopped before it was ready fails here, and nobody need know
    },
  );
  return {
    address: bound,
    httpPort: http.port,
    ready,
    stop: async () => {
      await gateway.stop();
      history.stop();
      ended.abort();
      await Promise.all([leading.catch(() => undefined), http.close(), shutDown(server)]);
      await store.close();
    },
  };
}

interface Measured {
  readonly usage: UsageSource;
  /** Takes over what a node reports to another control plane. */
  learn(report: NodeReport): void;
}

/** What nodes report, and what is expected of their containers from it. */
function measureUsage({ view, clock, gateway }: { view: ClusterView; clock: Clock; gateway: Gateway }): Measured {
  const estimates = createEstimates({
    clock,
    containerOf: (id) => {
      const assignment = view.assignments.get(id)?.value;
      if (!assignment?.key) return undefined;
      const { key, revision, node } = assignment;
      return { id, service: serviceId(key), revision, node, reservation: assignment.reservation ?? Resources.create() };
    },
  });
  gateway.usage.onReport((report) => estimates.record(report));
  view.onChange((changes) => {
    for (const { collection, id, value } of changes) if (collection === 'assignments' && !value) estimates.forget(id);
  });
  const { usage } = gateway;
  return {
    usage: { latest: (id) => usage.latest(id), node: (name) => usage.node(name), estimate: (id) => estimates.estimate(id) },
    learn: (report) => {
      gateway.learn(report);
      estimates.record(report);
    },
  };
}

/** Health and metrics. */
async function serveHttp(observed: ObserveOptions, log: Logger): Promise<HttpServer> {
  const { httpListen } = observed.config;
  const health = async () => {
    const parts = await components(observed);
    return {
      healthy: parts.every((part) => part.healthy || part.name === 'redis'),
      components: Object.fromEntries(parts.map((part) => [part.name, part.detail])),
    };
  };
  const port = Number(httpListen.slice(httpListen.lastIndexOf(':') + 1));
  return await startHttpServer({ host: hostOf(httpListen), port, log, health, metrics: createMetrics(figures(observed)) });
}

/** What holds for every call: its size, who may make it, and that there is a cluster to speak of. */
function callOptions(security: ClusterSecurity, view: ClusterView, log: Logger): ImplementOptions<Identity> {
  return {
    authorize: (call) => {
      requireModestMetadata(call);
      const identity = security.authorize(call);
      if (view.revision > 0) return identity;
      throw new GantryError(Code.unavailable, 'cannot serve: the store (etcd) does not answer yet', {
        details: { hint: 'it goes on by itself once etcd answers' },
      });
    },
    onFailure: (path, error) => log.error({ path, err: error }, 'a call failed unexpectedly'),
  };
}

/** Listens on all addresses; returns the first with its port. */
async function bind(server: Server, listen: readonly string[], security: ClusterSecurity): Promise<string> {
  const ports: number[] = [];
  for (const address of listen) {
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(address, security.credentials.credentials, (error, number) => {
        if (error) reject(new GantryError(Code.failedPrecondition, `cannot listen on "${address}": ${error.message}`, { cause: error }));
        else resolve(number);
      });
    });
    ports.push(port);
  }
  const host = hostOf(listen[0]!);
  return `${host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host}:${ports[0]}`;
}

interface PrepareOptions {
  security: ClusterSecurity;
  view: ClusterView;
  clock: Clock;
  address: string;
}

/** What is left to do once the store has been read. */
async function prepare(config: Config, { security, view, clock, address }: PrepareOptions): Promise<void> {
  await view.synced;
  const { authority, tokens } = security;
  if (config.contextFile !== '') await ensureContextFile({ path: config.contextFile, authority, clock, address, answers });
  if (config.bootstrapTokenFile !== '') await ensureBootstrapToken(tokens, config.bootstrapTokenFile, exists);
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: hostOf(address), port: Number(address.slice(address.lastIndexOf(':') + 1)), timeout: 500 });
    const done = (isThere: boolean) => {
      socket.destroy();
      resolve(isThere);
    };
    socket.on('connect', () => done(true));
    socket.on('timeout', () => done(false));
    socket.on('error', () => done(false));
  });
}

function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, shutdownMs);
    server.tryShutdown(() => {
      clearTimeout(force);
      resolve();
    });
  });
}
