import { X509Certificate } from 'node:crypto';
import { type Clock, Code, GantryError, isName } from '@gantry/common';
import { type EnrollRequest, EnrollResponse, Machine, NodeSettings, type RenewRequest } from '@gantry/proto';
import { keys } from '../store/keys.ts';
import type { Store } from '../store/store.ts';
import type { CertificateAuthority } from './ca.ts';
import { type CryptoKey, issueFor, newSerial, organizations, publicKeyOfRequest } from './certificates.ts';
import type { Tokens } from './tokens.ts';

/** Life of a node's certificate. */
export const nodeCertificateMs = 24 * 3_600_000;
const attempts = 5;

export interface EnrolmentOptions {
  store: Store;
  clock: Clock;
  authority: CertificateAuthority;
  tokens: Tokens;
}

/** How nodes come to their certificates. */
export interface Enrolment {
  /**
   * A certificate for a join token. The certificates of an earlier enrolment of the node end with it.
   * @returns the answer and the store's revision that knows the node.
   * @throws GantryError unauthenticated for a token that is not valid, alreadyExists for a node that is there and alive.
   */
  enroll(request: EnrollRequest): Promise<{ response: EnrollResponse; revision: number }>;
  /** A new certificate for a node that has shown its present one. */
  renew(node: string, request: RenewRequest): Promise<EnrollResponse>;
}

/** Enrolment against the store: a use of the token and the node's record change in one transaction. */
export function createEnrolment(options: EnrolmentOptions): Enrolment {
  const { store, clock } = options;
  return {
    enroll: async (request) => {
      if (!isName(request.node)) {
        throw new GantryError(
          Code.invalidArgument,
          `cannot enroll node "${request.node.slice(0, 80)}": a name must be lower-case letters, digits and inner hyphens, at most 63`,
        );
      }
      const publicKey = await publicKeyOfRequest(request.csr);
      for (let attempt = 0; attempt < attempts; attempt++) {
        const redemption = await options.tokens.redemption(request.tokenId, request.secret);
        const present = await nodeRecord(store, request.node);
        const serial = newSerial();
        const settings = NodeSettings.create({
          ...(present.settings ?? { name: request.node, createdAt: clock.nowUs() }),
          certificateSerial: serial,
          removed: false,
        });
        const result = await store.transact({
          compare: [redemption.compare, { kind: 'modRevision', key: keys.node(request.node), equals: present.revision }],
          writes: [redemption.write, { kind: 'put', key: keys.node(request.node), value: NodeSettings.encode(settings) }],
        });
        if (result.succeeded) {
          return {
            response: await issueNode(options, { node: request.node, enrolment: serial, serial, publicKey }),
            revision: result.revision,
          };
        }
      }
      throw new GantryError(Code.aborted, `cannot enroll node "${request.node}": others enroll at the same time, try again`);
    },
    renew: async (node, request) => {
      const publicKey = await publicKeyOfRequest(request.csr);
      const present = await store.get(keys.node(node));
      const settings = present ? NodeSettings.decode(present.value) : undefined;
      if (!settings || settings.removed) throw new GantryError(Code.unauthenticated, `cannot renew: node "${node}" has been removed`);
      return await issueNode(options, { node, enrolment: settings.certificateSerial, serial: newSerial(), publicKey });
    },
  };
}

/** The node's record, unless the node lives: nobody takes a living node's name. */
async function nodeRecord(store: Store, node: string): Promise<{ settings: NodeSettings | undefined; revision: number }> {
  const [record, machine] = await Promise.all([store.get(keys.node(node)), store.get(keys.machine(node))]);
  const settings = record ? NodeSettings.decode(record.value) : undefined;
  const lives = machine ? isConnected(Machine.decode(machine.value)) : false;
  if (settings && !settings.removed && lives) {
    throw new GantryError(Code.alreadyExists, `cannot enroll node "${node}": a node of this name is connected`, {
      details: { hint: `choose another name, or remove it first: gantry node rm ${node}` },
    });
  }
  return { settings, revision: record?.modRevision ?? 0 };
}

function isConnected(machine: Machine): boolean {
  return machine.gateway !== '' && machine.lostAt === 0;
}

interface NodeCertificate {
  node: string;
  /** Serial of the certificate that the node enrolled with: it stands in all of its certificates. */
  enrolment: string;
  serial: string;
  publicKey: CryptoKey;
}

async function issueNode(
  { authority, clock }: EnrolmentOptions,
  { node, enrolment, serial, publicKey }: NodeCertificate,
): Promise<EnrollResponse> {
  const certificate = await issueFor(await authority.issuer(), publicKey, {
    organization: organizations.node,
    organizationalUnit: enrolment,
    commonName: node,
    usage: 'client',
    dnsNames: [node],
    lifetimeMs: nodeCertificateMs,
    nowUs: clock.nowUs(),
    serial,
  });
  const expiresAt = Date.parse(new X509Certificate(certificate).validTo) * 1000;
  return EnrollResponse.create({ certificate, ca: authority.certificate, expiresAt });
}
