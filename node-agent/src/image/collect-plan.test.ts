import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CollectCandidate, planCollection } from './collect-plan.ts';

const hour = 3600 * 1e6;
const image = (digest: string, idleHours: number, sizeBytes = 10): CollectCandidate => ({
  digest,
  references: [`docker.io/${digest}:v1`],
  usedAtUs: 100 * hour - idleHours * hour,
  sizeBytes,
});
const policy = { inUse: new Set<string>(), nowUs: 100 * hour, keepUnusedUs: 24 * hour, maxBytes: Number.POSITIVE_INFINITY };

describe('collecting images', () => {
  test('takes those unused for too long', () => {
    expect(planCollection([image('a', 1), image('b', 25), image('c', 30)], policy)).toEqual(['c', 'b']);
  });

  test('never takes one in use, by digest or by reference', () => {
    const inUse = new Set(['a', 'docker.io/b:v1']);
    expect(planCollection([image('a', 99), image('b', 99)], { ...policy, inUse, maxBytes: 0 })).toEqual([]);
  });

  test('takes the longest unused above the size, until it fits', () => {
    expect(planCollection([image('a', 1), image('b', 3), image('c', 2)], { ...policy, maxBytes: 20 })).toEqual(['b']);
    expect(planCollection([image('a', 1), image('b', 3), image('c', 2)], { ...policy, maxBytes: 19 })).toEqual(['b', 'c']);
  });

  test('leaves what was asked for a moment ago, whatever the size', () => {
    expect(planCollection([image('a', 0)], { ...policy, maxBytes: 0 })).toEqual([]);
  });

  test('keeps every image in use, and leaves nothing old or too large that it may take', () => {
    const candidate = fc.record({ idle: fc.integer({ min: 1, max: 60 }), size: fc.nat(100), used: fc.boolean() });
    fc.assert(
      fc.property(fc.array(candidate, { maxLength: 12 }), fc.nat(600), (list, maxBytes) => {
        const images = list.map(({ idle, size }, index) => image(`d${index}`, idle, size));
        const inUse = new Set(list.flatMap(({ used }, index) => (used ? [`d${index}`] : [])));
        const removed = new Set(planCollection(images, { ...policy, inUse, maxBytes }));
        const kept = images.filter(({ digest }) => !removed.has(digest));
        for (const digest of inUse) expect(removed.has(digest)).toBe(false);
        const free = kept.filter(({ digest }) => !inUse.has(digest));
        if (kept.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) > maxBytes) expect(free).toEqual([]);
        for (const { usedAtUs } of free) expect(policy.nowUs - usedAtUs).toBeLessThan(policy.keepUnusedUs);
      }),
    );
  });
});
