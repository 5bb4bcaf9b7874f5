import { rm } from 'node:fs/promises';
import { Code, GantryError } from '@gantry/common';
import type { Assignment } from '@gantry/proto';
import pLimit from 'p-limit';
import type { ImageHandle } from '../image/images.ts';
import type { PreparedNetwork, RateLimit } from '../network/network.ts';
import { buildSpec, hostnameOf, specOf } from '../runtime/bundle.ts';
import { etcMounts, makeFolders, writeBundle } from '../runtime/bundle-files.ts';
import { resolveUser } from '../runtime/passwd.ts';
import { containerPaths } from '../runtime/paths.ts';
import type { Running } from '../runtime/runtime.ts';
import type { Ledger } from './ledger.ts';
import type { ReconcilePorts } from './ports.ts';

/** Why a start failed, and whether it may work later on this node. */
export interface StartFailure {
  reason: string;
  verdict: 'retry' | 'reject';
}

/** What was made for a container that now runs. */
export interface Started {
  running: Running;
  network: PreparedNetwork;
}

/** Codes of what cannot get better by itself on this node. */
const hopeless: ReadonlySet<Code> = new Set([Code.invalidArgument, Code.permissionDenied, Code.failedPrecondition, Code.outOfRange]);

/** Thrown by a start that this node can never carry out. */
class Refusal extends GantryError {}

async function refusable<T>(work: () => Promise<T> | T): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const error = GantryError.from(thrown);
    throw hopeless.has(error.code) ? new Refusal(error.code, error.message, { cause: error, details: error.details }) : error;
  }
}

/** What the control plane and the restart policy make of a failed start. */
export function failureOf(thrown: unknown): StartFailure {
  const error = GantryError.from(thrown);
  const hint = error.details.hint ? ` (${error.details.hint})` : '';
  return { reason: `${error.message}${hint}`, verdict: thrown instanceof Refusal ? 'reject' : 'retry' };
}

/** Network limits of an assignment; undefined when it has none. */
export function rateLimitOf(assignment: Assignment): RateLimit | undefined {
  const { networkReceiveBytesPerSecond: receive = 0, networkTransmitBytesPerSecond: send = 0 } = assignment.spec?.limits ?? {};
  return receive > 0 || send > 0 ? { receiveBytesPerSecond: receive, sendBytesPerSecond: send } : undefined;
}

/** Carries out starts, a bounded number at once: image, storage, network, bundle, process. */
export class Starter {
  readonly #ports: ReconcilePorts;
  readonly #ledger: Ledger;
  readonly #limit: ReturnType<typeof pLimit>;

  constructor(ports: ReconcilePorts, ledger: Ledger, concurrency: number) {
    this.#ports = ports;
    this.#ledger = ledger;
    this.#limit = pLimit(concurrency);
  }

  /** @throws whatever stood in the way; `failureOf` tells what it means. The signal calls it off before the process is made. */
  async start(assignment: Assignment, signal: AbortSignal): Promise<Started> {
    const image = await refusable(() => this.#image(assignment, signal));
    return await this.#limit(() => this.#launch(assignment, image, signal));
  }

  /** Deletes what an earlier run wrote, beside the start; what stays goes when the container is removed. */
  #discard(folder: string | undefined): void {
    if (folder === undefined) return;
    rm(folder, { recursive: true, force: true }).catch((error: unknown) => {
      this.#ports.log.warn({ folder, err: error }, 'cannot delete the layer of an earlier run');
    });
  }

  async #image(assignment: Assignment, signal: AbortSignal): Promise<ImageHandle> {
    const { container } = specOf(assignment);
    const pin = `${assignment.serviceUid}/${assignment.revision}`;
    return this.#ports.images.present(container.image, pin) ?? (await this.#ports.images.ensure(container.image, { signal, pin }));
  }

  async #launch(assignment: Assignment, image: ImageHandle, signal: AbortSignal): Promise<Started> {
    signal.throwIfAborted();
    const { volumes, facts, network, nodeNetwork, runtime } = this.#ports;
    const paths = await refusable(() => containerPaths(facts, assignment.id));
    const { container } = specOf(assignment);
    const user = await refusable(() => resolveUser(container.user || image.config.user, image.layers));
    const address = this.#ledger.get(assignment.id)?.address ?? '';
    const key = { namespace: assignment.key?.namespace ?? '', app: assignment.key?.app ?? '' };
    const limit = rateLimitOf(assignment);
    const [mounts, prepared] = await Promise.all([
      refusable(() => volumes.prepare(assignment, signal)),
      network.prepare({ containerId: assignment.id, address, ...key, ...(limit ? { limit } : {}) }),
    ]);
    signal.throwIfAborted();
    const spec = await refusable(() =>
      buildSpec({
        assignment,
        paths,
        user,
        mounts,
        image: image.config,
        layers: image.layers,
        cgroupsPath: `${facts.cgroupParent}/${assignment.id}`,
        netnsPath: prepared.netnsPath,
        etc: etcMounts(paths),
        disks: facts.disks,
      }),
    );
    const domain = nodeNetwork()?.clusterDomain ?? '';
    const search = domain ? [`${key.app}.${domain}`] : [];
    this.#discard(makeFolders(paths));
    writeBundle(paths, spec, { hostname: hostnameOf(assignment), address, dnsAddress: network.dnsAddress ?? '', search });
    this.#ledger.apply(assignment.id, { kind: 'launch', imageDigest: image.digest });
    const { logMaxBytes, logMaxFiles } = container;
    return { running: await runtime.start(paths, { logMaxBytes, logMaxFiles }), network: prepared };
  }
}
