/** What an image says about the container that is made from it. Lists and texts are empty when it says nothing. */
export interface ImageConfig {
  entrypoint: readonly string[];
  cmd: readonly string[];
  /** "NAME=value". */
  env: readonly string[];
  workingDir: string;
  /** "uid", "name", "uid:gid", "name:group"; not yet looked up in the image. */
  user: string;
  /** "SIGQUIT"; empty for the default. */
  stopSignal: string;
  labels: Readonly<Record<string, string>>;
  /** "80/tcp". */
  exposedPorts: readonly string[];
  /** Absolute paths that the image declares as volumes. */
  volumes: readonly string[];
  architecture: string;
  os: string;
}

/** An image whose layers are unpacked on this node. Valid until it is removed or collected. */
export interface ImageHandle {
  /** Normalised: "docker.io/library/nginx:1.27". */
  reference: string;
  /** What the reference resolved to, "sha256:…": of the image index where there is one. */
  digest: string;
  /** Digest of this platform's manifest. */
  manifestDigest: string;
  /** Absolute folders, top-most layer first, as overlayfs takes them. Read-only by agreement. */
  layers: readonly string[];
  config: ImageConfig;
  /** Bytes of manifest, config and compressed layers. */
  sizeBytes: number;
}

/** How far a pull is. */
export interface PullProgress {
  /** Compressed bytes that are here and verified or being received. */
  doneBytes: number;
  /** 0 until the manifest is known. */
  totalBytes: number;
  layersDone: number;
  layersTotal: number;
}

export interface EnsureOptions {
  signal: AbortSignal;
  /**
   * What the answer is pinned to, "<service uid>/<revision>": a tag is resolved once per pin on this node and the
   * same pin gets the same image ever after. Without it a tag that is known is taken as it is.
   */
  pin?: string;
  onProgress?: (progress: PullProgress) => void;
}

/** One image in the store, as listings show it. */
export interface StoredImage {
  /** Normalised references that name it now; empty for one that a newer pull has replaced. */
  references: readonly string[];
  digest: string;
  sizeBytes: number;
  /** Microseconds since the epoch. */
  pulledAtUs: number;
  usedAtUs: number;
}

export interface CollectOptions {
  /** Digests, and references as users write them, that containers use or will use: never removed. */
  inUse: Iterable<string>;
  /** Unused images stay this long after their last use. Default 24 h. */
  keepUnusedUs?: number;
  /** Above this many stored bytes the longest unused go first, whatever their age. Default: no limit. */
  maxBytes?: number;
}

export interface CollectResult {
  /** Digests of the images that went. */
  removed: readonly string[];
  /** Bytes of blobs that went. */
  freedBytes: number;
}

/** The images of one node. */
export interface ImageStore {
  /** The image when it is here and the reference needs no question to a registry; costs no I/O. */
  present(reference: string, pin?: string): ImageHandle | undefined;
  /**
   * The image, pulled and unpacked when it is not here. Calls for the same thing share one pull, which ends when the
   * last of them is aborted. A known tag is used as it is when its registry cannot be asked.
   * @throws GantryError invalidArgument for a malformed reference, notFound, unauthenticated, permissionDenied or
   * unavailable as the registry says, failedPrecondition for an image that is refused, resourceExhausted above a limit.
   */
  ensure(reference: string, options: EnsureOptions): Promise<ImageHandle>;
  list(): readonly StoredImage[];
  /**
   * Forgets an image by reference or digest and removes what only it used.
   * @throws GantryError notFound when it is not in the store.
   */
  remove(referenceOrDigest: string): Promise<void>;
  /** Removes unused images and whatever no image refers to. */
  collect(options: CollectOptions): Promise<CollectResult>;
  /** Aborts pulls and closes connections. */
  close(): Promise<void>;
}
