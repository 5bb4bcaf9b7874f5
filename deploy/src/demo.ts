import { join } from 'node:path';
import { installation, type LocalCluster } from './cluster.ts';
import { demoImages, publishImages } from './images.ts';
import { waitUntil } from './process.ts';

export const demoPort = 8080;
export const demoFile = join(installation, 'deploy/demo/compose.yaml');

/** Builds the demo's images and pushes them into the cluster's registry. */
export async function publishDemo(cluster: LocalCluster): Promise<void> {
  await publishImages(demoImages(join(installation, 'deploy/demo')), join(cluster.folder, 'build'), cluster.registry);
}

/** Variables that the demo's Compose file is read with. */
export function demoEnvironment(cluster: LocalCluster): Record<string, string> {
  return { REGISTRY: cluster.registry, WEB_PORT: String(demoPort) };
}

/** Asks through the published port of one node until all three tiers have answered. */
export async function visitDemo(cluster: LocalCluster, node = 1): Promise<string> {
  const url = `http://${cluster.nodeAddress(node)}:${demoPort}/cgi-bin/index.cgi`;
  let answer = 'no answer';
  const ok = await waitUntil(async () => {
    answer = await visit(url);
    return /^web .* -> app .* -> data .*: visit \d+$/.test(answer);
  }, 20_000);
  if (!ok) throw new Error(`the demo does not answer on ${url}: ${answer}`);
  return answer;
}

async function visit(url: string): Promise<string> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
    return (await response.text()).trim();
  } catch (error) {
    return String(error);
  }
}
