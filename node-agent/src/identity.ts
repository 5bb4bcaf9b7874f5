import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Clock, Code, GantryError, type Logger, writeFileAtomic } from '@gantry/common';
import { AgentsService, connect, createClient, EnrollRequest, type EnrollResponse, RenewRequest, type TlsFiles } from '@gantry/proto';
import { fetchPinnedCa, parseToken } from './identity-pin.ts';
import { certificateRequest, newKey } from './identity-request.ts';

/** Renewal at two thirds of the certificate's life, spread over a twentieth of it. */
const renewAt = 2 / 3;
const jitter = 1 / 20;
const retryMs = 60_000;

/** The node's certificate with its key, and the CA that it trusts. */
export type Identity = Required<TlsFiles>;

export interface IdentityOptions {
  /** Folder of ca.pem, node.pem and node.key. */
  folder: string;
  node: string;
  /** "host:port", tried in turn. */
  addresses: readonly string[];
  /** Text of the join token, asked for only when there is no identity that is valid. */
  token: () => Promise<string>;
  clock: Clock;
  log: Logger;
  /** 0..1. */
  random: () => number;
}

/** Who this node is to the control plane: enrolled once, renewed for ever after. */
export class NodeIdentity {
  readonly #options: IdentityOptions;
  #identity: Identity | undefined;
  #cancel = () => {};

  constructor(options: IdentityOptions) {
    this.#options = options;
  }

  /** @throws GantryError failedPrecondition before `open`. */
  get tls(): Identity {
    if (!this.#identity) throw new GantryError(Code.failedPrecondition, 'the node has no identity yet');
    return this.#identity;
  }

  /**
   * Reads the identity, or enrolls with the join token.
   * @throws GantryError unauthenticated when token or server are refused, unavailable when no control plane answers.
   */
  async open(): Promise<void> {
    const { folder, log, node } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    this.#identity = await readIdentity(folder, log);
    if (!this.#identity || isExpired(this.#identity, this.#options.clock)) {
      this.#identity = await this.#enroll();
      log.info({ node }, 'enrolled');
    }
    this.#scheduleRenewal();
  }

  close(): void {
    this.#cancel();
  }

  async #enroll(): Promise<Identity> {
    const { node, token } = this.#options;
    const { pin, id, secret } = parseToken(await token());
    const key = newKey();
    const csr = certificateRequest(node, key);
    return await this.#anywhere(async (address) => {
      const ca = await fetchPinnedCa(address, pin);
      const request = EnrollRequest.create({ tokenId: id, secret, csr, node, hostname: hostname() });
      return await this.#keep(key, await call(address, { ca }, (client) => client.enroll(request)));
    });
  }

  /** Gets a new certificate with the present one. */
  async renew(): Promise<void> {
    const key = newKey();
    const request = RenewRequest.create({ csr: certificateRequest(this.#options.node, key) });
    this.#identity = await this.#anywhere(async (address) => {
      return await this.#keep(key, await call(address, this.tls, (client) => client.renew(request)));
    });
  }

  /** The first control plane that answers; a refusal by one is a refusal. */
  async #anywhere<T>(work: (address: string) => Promise<T>): Promise<T> {
    let last: unknown;
    for (const address of this.#options.addresses) {
      try {
        return await work(address);
      } catch (error) {
        last = error;
        if (!GantryError.from(error).retryable) break;
      }
    }
    throw GantryError.from(last);
  }

  /** Key and certificate go to one file first, so that a cut between the other two loses neither. */
  async #keep(key: KeyObject, answer: EnrollResponse): Promise<Identity> {
    const { folder } = this.#options;
    const identity = { ca: answer.ca, certificate: answer.certificate, key: key.export({ type: 'pkcs8', format: 'pem' }) as string };
    await writeFileAtomic(join(folder, 'ca.pem'), identity.ca);
    await writeFileAtomic(join(folder, 'next.pem'), identity.key + identity.certificate);
    await writeFileAtomic(join(folder, 'node.key'), identity.key);
    await writeFileAtomic(join(folder, 'node.pem'), identity.certificate);
    await rm(join(folder, 'next.pem'), { force: true });
    return identity;
  }

  #scheduleRenewal(): void {
    const { clock, random, log } = this.#options;
    const certificate = new X509Certificate(this.tls.certificate);
    // validity begins in the past, to bear clocks that are behind: the life left counts from now
    const leftMs = certificate.validToDate.getTime() - clock.nowUs() / 1000;
    const lifeMs = Math.min(leftMs, 24 * 3_600_000);
    const dueMs = Math.max(0, leftMs - lifeMs * (1 - renewAt) - lifeMs * jitter * random());
    this.#later(dueMs, async () => {
      try {
        await this.renew();
        log.info('renewed the certificate');
        this.#scheduleRenewal();
      } catch (error) {
        log.warn({ reason: GantryError.from(error).message }, 'cannot renew the certificate');
        this.#later(retryMs, async () => this.#scheduleRenewal());
      }
    });
  }

  #later(delayMs: number, action: () => Promise<void>): void {
    this.#cancel = this.#options.clock.timer(delayMs, () => void action());
  }
}

type Client = ReturnType<typeof createClient<typeof AgentsService>>;

async function call<T>(address: string, tls: TlsFiles, work: (client: Client) => Promise<T>): Promise<T> {
  const connection = connect({ address, tls });
  try {
    return await work(createClient(AgentsService, connection));
  } finally {
    connection.close();
  }
}

async function read(folder: string, name: string): Promise<string> {
  return await readFile(join(folder, name), 'utf8').catch(() => '');
}

/** The identity on disk; undefined when there is none that is whole. A renewal that was cut off is finished. */
async function readIdentity(folder: string, log: Logger): Promise<Identity | undefined> {
  const ca = await read(folder, 'ca.pem');
  const present = { ca, certificate: await read(folder, 'node.pem'), key: await read(folder, 'node.key') };
  if (isWhole(present)) return present;
  const next = await read(folder, 'next.pem');
  const split = next.indexOf('-----BEGIN CERTIFICATE-----');
  const pending = { ca, key: next.slice(0, Math.max(0, split)), certificate: next.slice(Math.max(0, split)) };
  if (isWhole(pending)) return pending;
  if (present.certificate !== '' || present.key !== '') log.error({ folder }, 'the identity on disk is damaged: enrolling anew');
  return undefined;
}

function isExpired({ certificate }: Identity, clock: Clock): boolean {
  return new X509Certificate(certificate).validToDate.getTime() <= clock.nowUs() / 1000;
}

/** Whether key and certificate belong together and the CA has signed it. */
function isWhole({ ca, certificate, key }: Identity): boolean {
  try {
    const parsed = new X509Certificate(certificate);
    return parsed.checkPrivateKey(createPrivateKey(key)) && parsed.verify(new X509Certificate(ca).publicKey);
  } catch {
    // one of them is missing or cut short
    return false;
  }
}
