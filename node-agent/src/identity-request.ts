// A certificate request (PKCS#10, RFC 2986) in the few DER forms it needs. The certificate library would hold
// 18 MB of every agent's memory for the sake of one request a day.
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

const tags = { integer: 0x02, bitString: 0x03, oid: 0x06, utf8: 0x0c, sequence: 0x30, set: 0x31, attributes: 0xa0 } as const;
/** 2.5.4.3 */
const commonName = [0x55, 0x04, 0x03];
/** 1.2.840.10045.4.3.2 */
const ecdsaWithSha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const head = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), body]);
}

/** A fresh ECDSA P-256 key. */
export function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** A request for a certificate of `name`, signed with its own key; DER. */
export function certificateRequest(name: string, key: KeyObject): Buffer {
  const attribute = der(tags.sequence, der(tags.oid, Buffer.from(commonName)), der(tags.utf8, Buffer.from(name)));
  const info = der(
    tags.sequence,
    der(tags.integer, Buffer.from([0])),
    der(tags.sequence, der(tags.set, attribute)),
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
    der(tags.attributes),
  );
  const signature = sign('sha256', info, { key, dsaEncoding: 'der' });
  return der(
    tags.sequence,
    info,
    der(tags.sequence, der(tags.oid, Buffer.from(ecdsaWithSha256))),
    der(tags.bitString, Buffer.from([0]), signature),
  );
}
