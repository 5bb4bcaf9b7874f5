import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Code, GantryError } from '@gantry/common';

const version = 1;
const nonceBytes = 12;
const tagBytes = 16;
const keyBytes = 32;

/** Seals small secrets with AES-256-GCM. An envelope is: version, nonce, tag, cipher text. */
export interface Sealer {
  /** Names the key: the first 16 hex digits of its SHA-256. Stored beside what was sealed. */
  readonly keyId: string;
  /** @param context what the secret belongs to (its etcd key); the same one must be given to open it. */
  seal(plain: Uint8Array, context: string): Uint8Array;
  /** @throws GantryError dataLoss when the envelope was made by another key or for another context, or was changed. */
  open(sealed: Uint8Array, context: string): Buffer;
}

/** @param key 32 bytes. */
export function createSealer(key: Uint8Array): Sealer {
  return {
    keyId: createHash('sha256').update(key).digest('hex').slice(0, 16),
    seal: (plain, context) => {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', key, nonce);
      cipher.setAAD(Buffer.from(context));
      const body = Buffer.concat([cipher.update(plain), cipher.final()]);
      return Buffer.concat([Buffer.from([version]), nonce, cipher.getAuthTag(), body]);
    },
    open: (sealed, context) => {
      const bytes = Buffer.from(sealed);
      if (bytes.length < 1 + nonceBytes + tagBytes || bytes[0] !== version) throw unreadable(context);
      const nonce = bytes.subarray(1, 1 + nonceBytes);
      const tag = bytes.subarray(1 + nonceBytes, 1 + nonceBytes + tagBytes);
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes });
        decipher.setAAD(Buffer.from(context));
        decipher.setAuthTag(tag);
        return Buffer.concat([decipher.update(bytes.subarray(1 + nonceBytes + tagBytes)), decipher.final()]);
      } catch (error) {
        throw unreadable(context, error);
      }
    },
  };
}

function unreadable(context: string, cause?: unknown): GantryError {
  return new GantryError(Code.dataLoss, `cannot open the sealed value of "${context}": it must have been sealed with this cluster's key`, {
    cause,
    details: { hint: 'copy cluster.key from the data folder of the control plane that was started first' },
  });
}

/** Reads the cluster's key, or makes it (0600) when there is none. Two processes that start at once end with the same key. */
export async function loadClusterKey(path: string): Promise<Uint8Array> {
  const present = await readKey(path);
  if (present) return present;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  await writeFile(temporary, randomBytes(keyBytes), { mode: 0o600, flush: true });
  try {
    // link fails when the name is taken, so the first key made stays
    await link(temporary, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await unlink(temporary);
  }
  return (await readKey(path))!;
}

async function readKey(path: string): Promise<Uint8Array | undefined> {
  try {
    const bytes = await readFile(path);
    if (bytes.length === keyBytes) return bytes;
    throw new GantryError(Code.dataLoss, `cannot use key file "${path}": it must hold ${keyBytes} bytes, found ${bytes.length}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
