// npm run up: a three-host cluster on this machine, with the demo deployed and answering.
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { errorText, GantryError } from '@gantry/common';
import { installation, LocalCluster } from './cluster.ts';
import { demoEnvironment, demoFile, demoPort, publishDemo, visitDemo } from './demo.ts';
import { waitUntil } from './process.ts';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '3' },
    'no-demo': { type: 'boolean', default: false },
    folder: { type: 'string', default: join(installation, '.gantry') },
  },
});

const gantry = join(installation, 'bin/gantry');
const step = (text: string) => console.log(`up: ${text}`);

function command(cluster: LocalCluster, ...args: string[]): void {
  console.log(`\n$ gantry ${args.join(' ')}`);
  const env = { ...process.env, ...demoEnvironment(cluster), GANTRY_CONTEXT: cluster.contextFile };
  const { status } = spawnSync(gantry, args, { stdio: 'inherit', env });
  if (status !== 0) throw new GantryError(13, `cannot run "gantry ${args.join(' ')}": exit code ${status}`);
}

async function up(): Promise<void> {
  if (process.getuid?.() !== 0) throw new GantryError(7, 'cannot make hosts: needs root', { details: { hint: 'sudo npm run up' } });
  const nodes = Number(values.nodes);
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > 50) throw new GantryError(3, `cannot make "${values.nodes}" hosts: must be 1 to 50`);
  const folder = resolve(values.folder);
  let cluster = LocalCluster.open(folder);
  if (cluster && !cluster.complete()) {
    step('a cluster that is not whole is here; removing it');
    await cluster.remove();
    cluster = undefined;
  }
  if (cluster) step(`the cluster in ${folder} is up already`);
  cluster ??= await LocalCluster.create({ folder, nodes, progress: step });
  if (!values['no-demo']) await demo(cluster);
  next(cluster);
}

async function demo(cluster: LocalCluster): Promise<void> {
  step('images of the demo: busybox, web, app, data');
  await publishDemo(cluster);
  command(cluster, 'apply', '-f', demoFile, '--timeout', '2m');
  const answer = await visitDemo(cluster);
  console.log(`\n$ curl http://${cluster.nodeAddress(1)}:${demoPort}/cgi-bin/index.cgi\n${answer}`);
  command(cluster, 'ps');
  await measured(cluster);
  command(cluster, 'top');
}

/** Waits for the first reports: without them there is nothing to show. */
async function measured(cluster: LocalCluster): Promise<void> {
  const env = { ...process.env, GANTRY_CONTEXT: cluster.contextFile };
  await waitUntil(() => spawnSync(gantry, ['top', '-o', 'name'], { env, encoding: 'utf8' }).stdout.trim() !== '', 15_000);
}

function next(cluster: LocalCluster): void {
  const relative = cluster.folder === join(installation, '.gantry') ? '' : `export GANTRY_CONTEXT=${cluster.contextFile}\n  `;
  console.log(`
The cluster is up. Next:
  ${relative}bin/gantry nodes                what the hosts have and use
  bin/gantry services             what runs, and what was asked for
  bin/gantry logs -f demo/web     what the front says
  bin/gantry scale demo/web=5     more of it
  bin/gantry why demo/web         why it stands where it stands
  npm run down                    removes everything again`);
}

try {
  await up();
} catch (error) {
  console.error(`up: ${errorText(GantryError.from(error))}`);
  process.exitCode = 1;
}
