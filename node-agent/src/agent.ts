import { mkdir } from 'node:fs/promises';
import { type Clock, type Logger, type Loop, startLoop } from '@gantry/common';
import { Assignments, type Connection, type Goodbye, Hello, type Machine, type Report, type Welcome } from '@gantry/proto';
import { DesiredStore } from './desired.ts';
import { nextEpoch } from './epoch.ts';
import type { Prober } from './health/prober.ts';
import type { ImageStore } from './image/images.ts';
import { LogRemains } from './logs/remains.ts';
import { agentVersion } from './machine.ts';
import type { Network, NodeNetwork } from './network/network.ts';
import { loadNodeNetwork, saveNodeNetwork } from './network-file.ts';
import { Reconciler } from './reconcile/loop.ts';
import type { NodeFacts } from './reconcile/ports.ts';
import { statusOf } from './reconcile/status.ts';
import { containerPaths } from './runtime/paths.ts';
import type { Runtime } from './runtime/runtime.ts';
import { Commands } from './session/commands.ts';
import { Link } from './session/link.ts';
import { Outbox } from './session/outbox.ts';
import { Session } from './session/session.ts';
import type { Sampler } from './usage/sampler.ts';
import type { Volumes } from './volume/volumes.ts';

/** From the sending of the last confirmed heartbeat; 0.5 s before the control plane may replace containers. */
const cutOffMs = 3000;
const sampleMs = 1000;
const pruneMs = 60_000;
const collectMs = 3_600_000;

/** The parts of the agent, made by `main.ts` for a host and by tests with fakes. */
export interface AgentParts {
  clock: Clock;
  log: Logger;
  /** 0..1. */
  random: () => number;
  facts: NodeFacts;
  machine: () => Machine;
  /** "host:port" of the control planes. */
  addresses: readonly string[];
  connect: (address: string) => Connection;
  runtime: Runtime;
  images: ImageStore;
  volumes: Volumes;
  network: Network;
  prober: Prober;
  sampler: Sampler;
  /** Told when a session is up for the first time. */
  onReady: () => void;
}

/** One node's agent: what the control plane says becomes what runs, what happens is told to it. */
export class Agent {
  readonly #parts: AgentParts;
  readonly #loops: Loop[] = [];
  readonly #remains: LogRemains;
  readonly #desired: DesiredStore;
  readonly #outbox: Outbox;
  readonly #link: Link;
  readonly #session: Session;
  readonly #reconciler: Reconciler;
  readonly #commands: Commands;
  readonly #epoch: number;
  #node: NodeNetwork | undefined;
  #ready = false;

  private constructor(parts: AgentParts, epoch: number) {
    const { clock, log, facts, runtime, images } = parts;
    this.#parts = parts;
    this.#epoch = epoch;
    this.#remains = new LogRemains({ folders: facts, log });
    this.#desired = new DesiredStore({
      dataDir: facts.dataDir,
      log,
      onDurable: (revision) => this.#session.acknowledgeAssignments(revision),
    });
    this.#outbox = new Outbox({ clock, epoch, onPending: () => this.#session.wake() });
    this.#link = new Link({ clock, cutOffMs, onChange: (state) => this.#onLink(state) });
    this.#reconciler = new Reconciler({
      ...parts,
      nodeNetwork: () => this.#node,
      statuses: this.#outbox,
      remains: this.#remains,
      desired: this.#desired,
      link: () => this.#link.state,
    });
    this.#commands = new Commands({
      node: facts.name,
      log,
      images,
      logFolder: (id) => this.#remains.folderOf(id),
      status: (id) => {
        const record = this.#reconciler.records.get(id);
        return record && statusOf(record, facts.name);
      },
      exec: (id, request) => runtime.exec(containerPaths(facts, id), request),
    });
    this.#session = this.#newSession();
  }

  /** Reads what is on disk, finds what runs, and begins. */
  static async start(parts: AgentParts): Promise<Agent> {
    const { dataDir } = parts.facts;
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    const agent = new Agent(parts, await nextEpoch(dataDir, parts.clock));
    await agent.#begin();
    return agent;
  }

  async #begin(): Promise<void> {
    const { facts, network, log } = this.#parts;
    await this.#desired.load();
    const node = await loadNodeNetwork(facts.dataDir);
    if (node) {
      try {
        await network.start(node);
        this.#node = node;
      } catch (error) {
        log.error({ err: error }, 'cannot set up the network as it was: waiting for the control plane');
      }
    }
    await this.#reconciler.start();
    this.#session.start();
    this.#startLoops();
  }

  /** Ends the agent; containers go on. */
  async close(): Promise<void> {
    const { runtime, prober, sampler, network, images } = this.#parts;
    await Promise.all(this.#loops.map((loop) => loop.stop()));
    await this.#session.close();
    this.#link.close();
    prober.close();
    await this.#reconciler.close();
    await this.#desired.flush();
    runtime.close();
    sampler.close();
    await Promise.allSettled([network.close(), images.close()]);
  }

  #newSession(): Session {
    const { clock, log, random, addresses, connect, network, sampler } = this.#parts;
    return new Session({
      clock,
      log,
      random,
      addresses,
      connect,
      outbox: this.#outbox,
      link: this.#link,
      hello: () => this.#hello(),
      report: (): Report => sampler.report(clock.nowUs()),
      onWelcome: (welcome) => this.#onWelcome(welcome),
      onAssignments: (assignments) => {
        this.#desired.accept(assignments);
        this.#reconciler.trigger();
      },
      onNetwork: ({ peers }) => network.setPeers(peers),
      onEndpoints: (map) => network.setEndpoints(map),
      onCommand: (command, context) => this.#commands.run(command, context),
      onGoodbye: (goodbye) => this.#onGoodbye(goodbye),
    });
  }

  #hello(): Hello {
    const { facts, machine } = this.#parts;
    return Hello.create({
      node: facts.name,
      epoch: this.#epoch,
      machine: { ...machine(), epoch: this.#epoch },
      assignmentsRevision: this.#desired.durableRevision,
      agentVersion,
      containers: this.#reconciler.statuses().map((status) => this.#outbox.stamp(status)),
    });
  }

  #onGoodbye({ reason, removed }: Goodbye): void {
    this.#parts.log.warn({ reason, removed }, 'the control plane said goodbye');
    if (!removed) return;
    // a node that is no longer part of the cluster runs nothing for it
    this.#desired.accept(Assignments.create({ revision: this.#desired.durableRevision, snapshot: true }));
    this.#reconciler.trigger();
  }

  async #onWelcome({ subnet, clusterCidr, clusterDomain }: Welcome): Promise<void> {
    const { network, facts, log, onReady } = this.#parts;
    const node = { subnet, clusterCidr, clusterDomain };
    await network.start(node);
    if (!this.#node) {
      this.#node = node;
      this.#reconciler.trigger();
      await saveNodeNetwork(facts.dataDir, node).catch((error: unknown) => log.error({ err: error }, 'cannot write down the network'));
    }
    if (this.#ready) return;
    this.#ready = true;
    onReady();
  }

  #onLink(state: string): void {
    this.#parts.log.info({ state }, 'contact with the control plane');
    this.#reconciler.trigger();
  }

  #startLoops(): void {
    const { clock, log, sampler, images } = this.#parts;
    const loop = (name: string, intervalMs: number, run: () => Promise<void>) =>
      this.#loops.push(
        startLoop({
          name,
          clock,
          intervalMs,
          run: async () => {
            await run();
            return undefined;
          },
          onError: (error) => log.error({ err: error, loop: name }, 'a loop failed'),
        }),
      );
    loop('sample', sampleMs, async () => sampler.sampleAll(clock.nowUs()));
    loop('prune-logs', pruneMs, () => this.#remains.prune(Date.now()));
    loop('collect-images', collectMs, async () => {
      await images.collect({ inUse: this.#imagesInUse() });
    });
  }

  /** Digests and references that containers here use or will use. */
  #imagesInUse(): Set<string> {
    const inUse = new Set<string>();
    for (const record of this.#reconciler.records.values()) inUse.add(record.imageDigest);
    for (const assignment of this.#desired.assignments.values()) inUse.add(assignment.spec?.container?.image ?? '');
    inUse.delete('');
    return inUse;
  }
}
