import { describe, expect, test } from 'vitest';
import { type NodeAttributes, parseConstraint, satisfies } from './constraint.ts';

const n1: NodeAttributes = {
  name: 'n1',
  hostname: 'host-1',
  os: 'linux',
  arch: 'x86_64',
  kernel: '6.18.5-arch1',
  labels: { disk: 'ssd', kernel: '6.18.3', slots: '9', zone: 'eu-1a', cuda: 'v12.4-rc1' },
};

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
  'node.zone == eu-1a',
  'node.region not-exists',
  'node.kernel > 6.9',
  'node.kernel version >= 6.1, < 7',
  'node.kernel version 6.18.5-arch1',
  'node.labels.kernel version ~> 6.18',
  'node.labels.kernel version ~> 6.18.2',
  'node.labels.kernel version != 6.18.2',
  'node.labels.cuda version < 12.4',
  'node.labels.cuda version >= 12.4-rc0',
  'node.zone regex ^eu-',
  'node.zone regex "^eu-[0-9]+[ab]$"',
  'node.hostname regex ost-(1|2)$',
  'node.arch regex amd|arm',
  'node.labels.disk regex ^(ssd|nvme)==?|ssd',
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
  'node.region == eu',
  'node.kernel version < 6.18',
  'node.labels.kernel version ~> 6.17.1',
  'node.labels.kernel version ~> 6.18.4',
  'node.labels.disk version > 1',
  'node.labels.none version > 1',
  'node.zone regex ^us-',
  'node.region regex .*',
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
  'node.labels.disk regex',
  'node.labels.disk regex (',
  'node.labels.disk regex (?=x)',
  'node.labels.disk regex (((a{99}){99}){99})',
  'node.kernel version',
  'node.kernel version new',
  'node.kernel version >= 6,',
];

describe('constraint', () => {
  test.each(held)('%s holds', (text) => expect(satisfies(parseConstraint(text), n1)).toBe(true));
  test.each(failed)('%s does not hold', (text) => expect(satisfies(parseConstraint(text), n1)).toBe(false));
  test.each(unreadable)('"%s" is refused with what must hold', (text) =>
    expect(() => parseConstraint(text)).toThrow(/^cannot read constraint ".*": .*found/),
  );
});
