import { Code, GantryError } from '@gantry/common';
import { isDigest } from './digest.ts';
import type { Compression } from './unpacker.ts';

/** Names a blob and says what it is. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  sizeBytes: number;
}

export interface LayerDescriptor extends Descriptor {
  compression: Compression;
}

export interface Manifest {
  kind: 'manifest';
  config: Descriptor;
  /** Bottom first, as the format has them. */
  layers: readonly LayerDescriptor[];
}

export interface PlatformDescriptor extends Descriptor {
  os: string;
  architecture: string;
  variant: string;
}

export interface Index {
  kind: 'index';
  manifests: readonly PlatformDescriptor[];
}

/** A document as it came: its bytes are what the digest is of. */
export interface RawManifest {
  bytes: Uint8Array;
  /** Content-Type without parameters; empty when unknown. */
  mediaType: string;
  digest: string;
}

const indexTypes = ['application/vnd.oci.image.index.v1+json', 'application/vnd.docker.distribution.manifest.list.v2+json'];
const manifestTypes = ['application/vnd.oci.image.manifest.v1+json', 'application/vnd.docker.distribution.manifest.v2+json'];
const configTypes = ['application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json'];

const layerTypes: Readonly<Record<string, Compression>> = {
  'application/vnd.oci.image.layer.v1.tar': 'none',
  'application/vnd.oci.image.layer.v1.tar+gzip': 'gzip',
  'application/vnd.oci.image.layer.v1.tar+zstd': 'zstd',
  'application/vnd.docker.image.rootfs.diff.tar': 'none',
  'application/vnd.docker.image.rootfs.diff.tar.gzip': 'gzip',
  'application/vnd.docker.image.rootfs.diff.tar.zstd': 'zstd',
};

/** What a request for a manifest accepts. */
export const acceptedManifests = [...indexTypes, ...manifestTypes].join(', ');

/** Limits of the documents; overlayfs and its users stand about so many layers. */
const maxLayers = 125;
const maxIndexEntries = 1000;

/** An error for an image that is refused for what it is: another try gives the same. */
export function refusal(subject: string, must: string): GantryError {
  return new GantryError(Code.failedPrecondition, `cannot use image "${subject}": ${must}`);
}

type Fields = Record<string, unknown>;

/** The object of a JSON document. @throws GantryError failedPrecondition when it is none. */
export function parseObject(subject: string, bytes: Uint8Array): Fields {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new GantryError(Code.failedPrecondition, `cannot use image "${subject}": its documents must be JSON`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refusal(subject, 'its documents must be JSON objects');
  return value as Fields;
}

function descriptor(subject: string, value: unknown): Descriptor & { fields: Fields } {
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Fields;
  const { mediaType, digest, size } = fields;
  if (typeof mediaType !== 'string') throw refusal(subject, 'each descriptor must have a mediaType');
  if (typeof digest !== 'string' || !isDigest(digest)) {
    throw refusal(subject, `each descriptor must have a digest of sha256, found ${JSON.stringify(digest)?.slice(0, 100)}`);
  }
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw refusal(subject, 'each descriptor must have a size');
  return { mediaType, digest, sizeBytes: size, fields };
}

function layer(subject: string, value: unknown): LayerDescriptor {
  const { fields: _, ...plain } = descriptor(subject, value);
  const compression = Object.hasOwn(layerTypes, plain.mediaType) ? layerTypes[plain.mediaType] : undefined;
  if (compression === undefined) throw refusal(subject, `a layer must be a tar archive, found type ${plain.mediaType.slice(0, 100)}`);
  return { ...plain, compression };
}

function platformDescriptor(subject: string, value: unknown): PlatformDescriptor {
  const { fields, ...plain } = descriptor(subject, value);
  const platform = (typeof fields.platform === 'object' && fields.platform !== null ? fields.platform : {}) as Fields;
  const text = (key: string) => (typeof platform[key] === 'string' ? platform[key] : '');
  return { ...plain, os: text('os'), architecture: text('architecture'), variant: text('variant') };
}

/** The type that header and body agree on: a document must not be read as two different things. */
function agreedType(subject: string, raw: RawManifest, fields: Fields): string {
  const inside = fields.mediaType;
  if (inside !== undefined && typeof inside !== 'string') throw refusal(subject, 'mediaType must be a text');
  const named = raw.mediaType === 'application/json' || raw.mediaType === 'application/octet-stream' ? '' : raw.mediaType;
  if (inside !== undefined && named !== '' && inside !== named) {
    throw refusal(subject, `the manifest must be what it is sent as, found ${inside.slice(0, 100)} sent as ${named.slice(0, 100)}`);
  }
  if ('manifests' in fields && ('layers' in fields || 'config' in fields))
    throw refusal(subject, 'must be an index or a manifest, found both');
  return inside ?? (named || ('manifests' in fields ? indexTypes[0]! : manifestTypes[0]!));
}

/**
 * Reads a manifest or an index.
 * @throws GantryError failedPrecondition for everything that is not an image of a known form.
 */
export function parseManifest(subject: string, raw: RawManifest): Manifest | Index {
  const fields = parseObject(subject, raw.bytes);
  const type = agreedType(subject, raw, fields);
  if (fields.schemaVersion !== 2) throw refusal(subject, 'its manifest must have schemaVersion 2');
  if (indexTypes.includes(type)) {
    const { manifests } = fields;
    if (!Array.isArray(manifests) || manifests.length > maxIndexEntries) {
      throw refusal(subject, `its index must list at most ${maxIndexEntries} manifests`);
    }
    return { kind: 'index', manifests: manifests.map((value) => platformDescriptor(subject, value)) };
  }
  if (!manifestTypes.includes(type)) throw refusal(subject, `its manifest must be of OCI or Docker 2.2 form, found ${type.slice(0, 100)}`);
  const { layers } = fields;
  if (!Array.isArray(layers)) throw refusal(subject, 'its manifest must list layers');
  if (layers.length > maxLayers) throw refusal(subject, `must have at most ${maxLayers} layers, found ${layers.length}`);
  const { fields: _, ...config } = descriptor(subject, fields.config);
  if (!configTypes.includes(config.mediaType)) {
    throw refusal(subject, `must be a container image, found config of type ${config.mediaType.slice(0, 100)}`);
  }
  return { kind: 'manifest', config, layers: layers.map((value) => layer(subject, value)) };
}

/** What this node can run. */
export interface Platform {
  os: string;
  architecture: string;
}

/**
 * The manifest of an index for a platform: the first without a variant, else the first.
 * @throws GantryError failedPrecondition naming the platforms that there are.
 */
export function choosePlatform(subject: string, index: Index, platform: Platform): PlatformDescriptor {
  const fitting = index.manifests.filter((entry) => entry.os === platform.os && entry.architecture === platform.architecture);
  const chosen = fitting.find((entry) => entry.variant === '' || entry.variant === 'v8') ?? fitting[0];
  if (chosen) return chosen;
  const found = index.manifests.map((entry) => `${entry.os || '?'}/${entry.architecture || '?'}`).slice(0, 20);
  throw refusal(subject, `must have a manifest for ${platform.os}/${platform.architecture}, found ${found.join(', ') || 'none'}`);
}
