// An agent as a process of its own for tests that kill it: real containers, but no network and no registry.
// Arguments: data folder, address of the scripted control plane, folder of the image's only layer, cgroup parent.
import { join, resolve } from 'node:path';
import { silentLogger, systemClock } from '@gantry/common';
import { connect, Machine } from '@gantry/proto';
import { Agent } from './agent.ts';
import { createConnector } from './health/connector.ts';
import { createProber } from './health/node-prober.ts';
import { FakeImageStore, fakeImageConfig } from './image/fake-images.ts';
import { FakeNetwork } from './network/fake-network.ts';
import type { ContainerNetwork, PreparedNetwork } from './network/network.ts';
import { BerthRuntime } from './runtime/berth.ts';
import { FakeSampler } from './usage/fake-sampler.ts';
import { FakeVolumes } from './volume/fake-volumes.ts';

/** Every container gets a network namespace of its own from the runtime. */
class NoNetwork extends FakeNetwork {
  override adopt(container: ContainerNetwork): PreparedNetwork {
    return { ...super.adopt(container), netnsPath: '' };
  }
}

const [dataDir = '', address = '', layer = '', cgroupParent = ''] = process.argv.slice(2);
const images = new FakeImageStore();
images.offer('demo:1', { layers: [layer], config: fakeImageConfig({ env: ['PATH=/bin'] }) });
await Agent.start({
  clock: systemClock,
  log: silentLogger(),
  random: Math.random,
  facts: { name: 'n1', dataDir, runDir: join(dataDir, 'run'), cgroupParent, disks: [] },
  machine: () => Machine.create({ name: 'n1' }),
  addresses: [address],
  connect: (to) => connect({ address: to }),
  runtime: new BerthRuntime({ binary: resolve('native/build/berth'), root: join(dataDir, 'berth'), clock: systemClock }),
  images,
  volumes: new FakeVolumes(),
  network: new NoNetwork(),
  prober: createProber({ clock: systemClock, connector: createConnector(), random: Math.random }),
  sampler: new FakeSampler(),
  onReady: () => process.stdout.write('ready\n'),
});
