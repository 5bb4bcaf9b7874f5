import { Code, GantryError } from '@gantry/common';
import { type GetFileRequest, GetFileResponse, StoredFile } from '@gantry/proto';
import { type ClusterView, serviceId } from '../cluster/view.ts';
import { keys } from '../store/keys.ts';
import type { Store } from '../store/store.ts';

export interface FilesOptions {
  store: Store;
  view: ClusterView;
  openSecret: (sealed: Uint8Array, context: string) => Uint8Array;
}

/**
 * The content of a config or secret that a container of this node was given.
 * @throws GantryError permissionDenied unless an assignment on the node names this very content.
 */
export async function readBoundFile(
  { store, view, openSecret }: FilesOptions,
  node: string,
  request: GetFileRequest,
): Promise<GetFileResponse> {
  const { key, name, digest, secret } = request;
  const kind = secret ? 'secret' : 'config';
  const wanted = key ? serviceId(key) : '';
  const isBound = [...view.assignmentsOn(node).values()].some(
    ({ value }) =>
      value.key &&
      serviceId(value.key) === wanted &&
      Object.hasOwn(value.fileDigests, `${kind}/${name}`) &&
      value.fileDigests[`${kind}/${name}`] === digest,
  );
  if (!key || !isBound) {
    throw new GantryError(Code.permissionDenied, `cannot read ${kind} "${name.slice(0, 80)}": no container on node "${node}" was given it`);
  }
  const path = secret ? keys.secret(key.namespace, key.app, name, digest) : keys.config(key.namespace, key.app, name, digest);
  const item = await store.get(path);
  if (!item) throw new GantryError(Code.notFound, `cannot read ${kind} "${key.app}/${name}": its content is not in the store`);
  const file = StoredFile.decode(item.value);
  return GetFileResponse.create({ content: secret ? openSecret(file.content, path) : file.content });
}
