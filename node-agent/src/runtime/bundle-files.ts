import { existsSync, mkdirSync, mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Spec } from './oci.ts';
import type { ContainerPaths } from './runtime.ts';

export interface EtcInput {
  hostname: string;
  address: string;
  /** Name server, empty for none. */
  dnsAddress: string;
  /** Domains in which short names are looked up. */
  search: readonly string[];
}

const etcFiles = ['hosts', 'hostname', 'resolv.conf'] as const;

/** Where a container finds its /etc files on the host. */
export function etcMounts(paths: ContainerPaths): { target: string; source: string }[] {
  return etcFiles.map((name) => ({ target: `/etc/${name}`, source: join(paths.bundle, name) }));
}

function etcContent({ hostname, address, dnsAddress, search }: EtcInput): Record<(typeof etcFiles)[number], string> {
  const names = ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', ...(address ? [`${address}\t${hostname}`] : [])];
  const resolver = dnsAddress
    ? [`nameserver ${dnsAddress}`, ...(search.length > 0 ? [`search ${search.join(' ')}`] : []), 'options ndots:1']
    : [];
  return { hosts: `${names.join('\n')}\n`, hostname: `${hostname}\n`, 'resolv.conf': `${resolver.join('\n')}\n` };
}

/**
 * Makes the container's folders. A restart gets a fresh writable layer and keeps its log: what the earlier
 * run wrote is moved aside, and the folder that holds it is returned for the caller to delete in its own time.
 */
export function makeFolders(paths: ContainerPaths): string | undefined {
  const gone = setLayerAside(paths);
  mkdirSync(paths.rootfs, { recursive: true, mode: 0o755 });
  mkdirSync(paths.bundle, { recursive: true, mode: 0o700 });
  mkdirSync(paths.state, { recursive: true, mode: 0o700 });
  for (const name of ['upper', 'work']) mkdirSync(join(paths.data, name), { recursive: true, mode: 0o755 });
  return gone;
}

function setLayerAside({ data }: ContainerPaths): string | undefined {
  if (!existsSync(join(data, 'upper'))) return undefined;
  const gone = mkdtempSync(join(data, 'gone-'));
  for (const name of ['upper', 'work']) if (existsSync(join(data, name))) renameSync(join(data, name), join(gone, name));
  return gone;
}

/**
 * Writes config.json and the /etc files. Small files by synchronous calls: a dozen system calls take
 * less time than one turn through the thread pool, and this is on the way of every start.
 */
export function writeBundle(paths: ContainerPaths, spec: Spec, etc: EtcInput): void {
  for (const [name, text] of Object.entries(etcContent(etc))) writeFileSync(join(paths.bundle, name), text, { mode: 0o644 });
  writeFileSync(join(paths.bundle, 'config.json'), JSON.stringify(spec), { mode: 0o600 });
}
