import { readFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  backoffMs,
  Code,
  createLogger,
  errorText,
  GantryError,
  type Logger,
  type OptionValues,
  optionsHelp,
  readOptions,
  sleep,
  systemClock,
} from '@gantry/common';
import { AgentsService, type Connection, connect, createClient, GetFileRequest } from '@gantry/proto';
import { Agent } from './agent.ts';
import { options, prefix } from './config.ts';
import { createConnector } from './health/connector.ts';
import { createProber } from './health/node-prober.ts';
import { NodeIdentity } from './identity.ts';
import { createRegistry } from './image/registry.ts';
import { openImageStore } from './image/store.ts';
import { createUnpacker } from './image/unpacker.ts';
import { agentVersion, describeMachine, disksOf } from './machine.ts';
import { HostNetwork } from './network/host-network.ts';
import { BerthRuntime } from './runtime/berth.ts';
import { createSampler } from './usage/cgroup-sampler.ts';
import { findCgroupMounts } from './usage/mounts.ts';
import { openVolumes } from './volume/disk-volumes.ts';
import type { FetchFile } from './volume/file-mounts.ts';

type Config = OptionValues<typeof options>;

const clock = systemClock;
const random = Math.random;
/** A clean end takes at most this long. */
const endMs = 5000;
const enrollRetry = { minMs: 500, maxMs: 10_000 };

async function readToken({ token, tokenFile }: Config): Promise<string> {
  if (token !== '') return token;
  if (tokenFile !== '') return (await readFile(tokenFile, 'utf8')).trim();
  throw new GantryError(Code.failedPrecondition, 'cannot enroll this node: it has no certificate that is valid and no join token', {
    details: { hint: 'make a token with "gantry token create" and give it by --token or --token-file' },
  });
}

/** Who this node is; waits for a control plane when it has to enroll and none answers. */
async function openIdentity(config: Config, log: Logger, signal: AbortSignal): Promise<NodeIdentity> {
  const identity = new NodeIdentity({
    folder: join(config.dataDir, 'identity'),
    node: config.name,
    addresses: config.controlPlane,
    token: () => readToken(config),
    clock,
    log,
    random,
  });
  for (let attempt = 0; ; attempt++) {
    try {
      await identity.open();
      return identity;
    } catch (thrown) {
      const error = GantryError.from(thrown);
      if (!error.retryable) throw error;
      log.warn({ reason: error.message }, 'cannot enroll yet');
      await sleep(clock, backoffMs(attempt, random(), enrollRetry), signal);
    }
  }
}

/** Fetches configs and secrets from the first control plane that answers. */
function fileFetcher(addresses: readonly string[], connectTo: (address: string) => Connection): FetchFile {
  return async ({ key, secret, name, digest }, signal) => {
    let last: unknown;
    for (const address of addresses) {
      const connection = connectTo(address);
      try {
        const request = GetFileRequest.create({ key, secret, name, digest });
        return (await createClient(AgentsService, connection).getFile(request, { signal })).content;
      } catch (error) {
        last = error;
        if (!GantryError.from(error).retryable) break;
      } finally {
        connection.close();
      }
    }
    throw GantryError.from(last);
  };
}

async function startOnHost(config: Config, log: Logger, signal: AbortSignal): Promise<() => Promise<void>> {
  const { dataDir, runDir, name, cgroupParent, capacity, labels, address } = config;
  for (const folder of [dataDir, runDir]) await mkdir(folder, { recursive: true, mode: 0o700 });
  const identity = await openIdentity(config, log, signal);
  const connectTo = (to: string) => connect({ address: to, tls: identity.tls });
  const unpacker = createUnpacker(config.unpack);
  const registry = createRegistry({ insecureRegistries: config.insecureRegistries, clock, random });
  const agent = await Agent.start({
    clock,
    log,
    random,
    addresses: config.controlPlane,
    connect: connectTo,
    facts: { name, dataDir, runDir, cgroupParent, disks: disksOf(dataDir) },
    machine: () =>
      describeMachine({ name, address, dataDir, capacity: Object.assign({}, ...capacity), labels: Object.fromEntries(labels) }),
    runtime: new BerthRuntime({ binary: config.berth, root: join(runDir, 'berth'), clock }),
    images: await openImageStore({ root: join(dataDir, 'images'), registry, unpacker, clock, log, random }),
    volumes: await openVolumes({
      root: join(dataDir, 'volumes'),
      filesRoot: join(runDir, 'files'),
      bindRoots: config.bindRoots,
      fetchFile: fileFetcher(config.controlPlane, connectTo),
      removeTree: (folder) => unpacker.remove(folder),
    }),
    network: new HostNetwork({ netd: config.netd, bridge: config.bridge, clock, log, random }),
    prober: createProber({ clock, connector: createConnector(), random }),
    sampler: createSampler({ mounts: findCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8')), nodeCgroup: cgroupParent, clock }),
    onReady: () => log.info({ node: name }, 'ready'),
  });
  return async () => {
    identity.close();
    await agent.close();
  };
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes('--help'))
    return void process.stdout.write(`gantry-agent: runs a node's containers\n\n${optionsHelp(options, prefix)}\n`);
  if (args.includes('--version')) return void process.stdout.write(`gantry-agent ${agentVersion}\n`);
  const config = readOptions({ table: options, prefix, args, env: process.env });
  const log = createLogger({ name: 'gantry-agent', level: config.logLevel });
  const ended = new AbortController();
  const started = startOnHost(config, log, ended.signal);
  const end = (signal: string) => {
    if (ended.signal.aborted) return;
    log.info({ signal }, 'ending; containers go on');
    ended.abort();
    setTimeout(() => process.exit(0), endMs).unref();
    void started.then((close) => close()).finally(() => process.exit(0));
  };
  process.on('SIGTERM', () => end('SIGTERM'));
  process.on('SIGINT', () => end('SIGINT'));
  await started;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${JSON.stringify({ level: 60, name: 'gantry-agent', msg: errorText(GantryError.from(error)) })}\n`);
  process.exit(1);
}
