/** What the plan needs to know of an image. */
export interface CollectCandidate {
  digest: string;
  references: readonly string[];
  usedAtUs: number;
  sizeBytes: number;
}

export interface CollectPolicy {
  /** Digests and normalised references. */
  inUse: ReadonlySet<string>;
  nowUs: number;
  keepUnusedUs: number;
  maxBytes: number;
}

/** An image that was asked for so recently may be about to be used, whatever the disk says. */
const graceUs = 60_000_000;

/** The images to remove: unused for too long, and the longest unused while all together are too large. */
export function planCollection(images: readonly CollectCandidate[], policy: CollectPolicy): string[] {
  const { inUse, nowUs, keepUnusedUs, maxBytes } = policy;
  const unused = images
    .filter((image) => !inUse.has(image.digest) && !image.references.some((reference) => inUse.has(reference)))
    .sort((a, b) => a.usedAtUs - b.usedAtUs || (a.digest < b.digest ? -1 : 1));
  let total = images.reduce((sum, image) => sum + image.sizeBytes, 0);
  const removed: string[] = [];
  for (const image of unused) {
    const idleUs = nowUs - image.usedAtUs;
    if (idleUs < keepUnusedUs && (total <= maxBytes || idleUs < graceUs)) continue;
    removed.push(image.digest);
    total -= image.sizeBytes;
  }
  return removed;
}
