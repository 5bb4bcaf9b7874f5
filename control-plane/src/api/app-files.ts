import { createHash } from 'node:crypto';
import { type AppSpec, type FileSpec, StoredFile } from '@gantry/proto';
import { type ClusterView, serviceId } from '../cluster/view.ts';
import { keys, prefixes } from '../store/keys.ts';
import type { Comparison, Write } from '../store/store.ts';
import type { ApiDeps } from './ports.ts';

type FileDeps = Pick<ApiDeps, 'store' | 'view' | 'sealer' | 'clock'>;

/** The app with the digest of each config and secret, SHA-256 of the content in hex. */
export function withDigests(app: AppSpec): AppSpec {
  const digested = (file: FileSpec): FileSpec => ({ ...file, digest: createHash('sha256').update(file.content).digest('hex') });
  return { ...app, configs: app.configs.map(digested), secrets: app.secrets.map(digested) };
}

/** Records to write for content that the store does not have, secrets sealed; what it has must stay until the commit. */
export async function newFiles({ store, sealer, clock }: FileDeps, app: AppSpec): Promise<{ writes: Write[]; compare: Comparison[] }> {
  const { namespace, name } = app;
  const kinds = [
    { files: app.configs, keyOf: keys.config, seal: undefined },
    { files: app.secrets, keyOf: keys.secret, seal: sealer },
  ];
  const writes: Write[] = [];
  const compare: Comparison[] = [];
  const all = kinds.flatMap(({ files, keyOf, seal }) =>
    files.map((file) => ({ file, seal, key: keyOf(namespace, name, file.name, file.digest) })),
  );
  const present = await Promise.all(all.map(({ key }) => store.get(key)));
  for (const [index, { file, seal, key }] of all.entries()) {
    compare.push({ kind: 'modRevision', key, equals: present[index]?.modRevision ?? 0 });
    if (present[index]) continue;
    const content = seal ? seal.seal(file.content, key) : file.content;
    const record = { namespace, app: name, name: file.name, digest: file.digest, content, keyId: seal?.keyId ?? '' };
    writes.push({ kind: 'put', key, value: StoredFile.encode(StoredFile.create({ ...record, createdAt: clock.nowUs() })) });
  }
  return { writes, compare };
}

/** Removals of content that neither the app nor a kept revision names. @param app undefined: the app goes. */
export async function staleFiles({ store, view }: FileDeps, namespace: string, name: string, app: AppSpec | undefined): Promise<Write[]> {
  const used = new Set(app ? usedFiles(view, namespace, name) : []);
  for (const { name: file, digest } of app?.configs ?? []) used.add(keys.config(namespace, name, file, digest));
  for (const { name: file, digest } of app?.secrets ?? []) used.add(keys.secret(namespace, name, file, digest));
  const stored = await Promise.all([store.list(prefixes.configsOf(namespace, name)), store.list(prefixes.secretsOf(namespace, name))]);
  return stored.flatMap(({ items }) => items.filter(({ key }) => !used.has(key)).map(({ key }): Write => ({ kind: 'delete', key })));
}

function usedFiles(view: ClusterView, namespace: string, app: string): string[] {
  const used: string[] = [];
  const collect = (digests: Readonly<Record<string, string>>) => {
    for (const [file, digest] of Object.entries(digests)) {
      const [kind, name] = file.split('/') as [string, string];
      used.push(kind === 'secret' ? keys.secret(namespace, app, name, digest) : keys.config(namespace, app, name, digest));
    }
  };
  for (const { value } of view.servicesOf(`${namespace}/${app}`).values()) {
    const id = serviceId(value.key!);
    for (const revision of view.revisionsOf(id)) collect(revision.fileDigests);
    for (const entry of view.assignmentsOf(id).values()) collect(entry.value.fileDigests);
  }
  return used;
}
