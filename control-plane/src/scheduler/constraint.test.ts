import { describe, expect, test } from 'vitest';
import { parseConstraint, satisfies } from './constraint.ts';
import { node } from './testing/fixtures.ts';

const n1 = node('n1', { hostname: 'host-1', arch: 'x86_64', labels: { disk: 'ssd', kernel: '6.18.3', slots: '9' } });

const held = [
  'node.labels.disk == ssd',
  'node.labels.disk==ssd',
  'node.labels.disk == "ssd"',
  'node.labels.disk != hdd',
  'node.labels.none != hdd',
  'node.labels.disk in ssd,nvme',
  'node.labels.disk in (ssd, nvme)',
  'node.labels.disk not-in hdd,tape',
  'node.labels.disk exists',
  'node.labels.none not-exists',
  'node.labels.slots < 10',
  'node.labels.kernel > 6.9',
  'node.labels.kernel >= 6.18.3',
  'node.labels.kernel <= 6.18.3',
  'node.name == n1',
  'node.hostname == host-1',
  'node.arch == amd64',
  'node.platform.arch == x86_64',
  'node.os == linux',
];

const failed = [
  'node.labels.disk == hdd',
  'node.labels.disk != ssd',
  'node.labels.none == ssd',
  'node.labels.none in ssd',
  'node.labels.none > 1',
  'node.labels.disk not-in ssd,hdd',
  'node.labels.none exists',
  'node.labels.disk not-exists',
  'node.labels.slots > 10',
  'node.labels.kernel < 6.18',
  'node.arch == arm64',
  'node.labels.toString exists',
];

const unreadable = [
  '',
  'node.labels.disk',
  'node.labels.disk ssd',
  'node.labels. == x',
  'node.rol == x',
  'labels.disk == ssd',
  'node.labels.disk ==',
  'node.labels.disk in',
  'node.labels.disk exists ssd',
];

describe('constraint', () => {
  test.each(held)('%s holds', (text) => expect(satisfies(parseConstraint(text), n1)).toBe(true));
  test.each(failed)('%s does not hold', (text) => expect(satisfies(parseConstraint(text), n1)).toBe(false));
  test.each(unreadable)('"%s" is refused with what must hold', (text) =>
    expect(() => parseConstraint(text)).toThrow(/^cannot read constraint ".*": .*found/),
  );
});
