import { expect, test } from 'vitest';
import { clusterCidr, createFabric, fabricCommands, freeOctet, hostNamespace, machineAddress, removeFabric, setLink } from './links.ts';
import { run } from './process.ts';

test('the plan of a fabric names nothing outside its id', () => {
  const commands = fabricCommands({ id: 'abcd', octet: 120, nodes: 2 });
  const touched = commands.map((command) => /^(?:-n |netns add |link add |addr add |link set )/.test(command));
  expect(touched.every(Boolean)).toBe(true);
  expect(commands.filter((command) => !command.includes('abcd'))).toEqual([]);
});

test('hosts reach each other until a link is cut, and nothing stays behind', async () => {
  const fabric = { id: process.pid.toString(16).padStart(4, '0').slice(-4), octet: await freeOctet(process.pid), nodes: 2 };
  const ping = () =>
    run('nsenter', [
      `--net=/run/netns/${hostNamespace(fabric.id, 1)}`,
      'busybox',
      'ping',
      '-c',
      '1',
      '-W',
      '1',
      `10.${fabric.octet}.255.2`,
    ]);
  try {
    await createFabric(fabric);
    expect(await ping()).toContain('1 packets received');
    await setLink(fabric, 2, false);
    await expect(ping()).rejects.toThrow(/cannot run/);
  } finally {
    await removeFabric(fabric.id);
  }
  expect(await run('ip', ['netns'])).not.toContain(fabric.id);
  expect(await run('ip', ['-o', 'addr'])).not.toContain(machineAddress(fabric));
  expect(clusterCidr(fabric)).toBe(`10.${fabric.octet}.0.0/17`);
});
