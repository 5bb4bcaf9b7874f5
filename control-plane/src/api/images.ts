import { Code, GantryError } from '@gantry/common';
import { type Handlers, type ImagesService, ListImagesResponse, NodeState, PullImageProgress } from '@gantry/proto';
import type { Identity } from '../security/authn.ts';
import { notFound } from './access.ts';
import { limits, refuse, requireRequestId } from './checks.ts';
import type { Api } from './context.ts';
import { Merge } from './merge.ts';
import { pageOf } from './paging.ts';

const referencePattern = /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}$/;

/** Handlers of the service Images. */
export function createImagesApi(api: Api): Handlers<typeof ImagesService, Identity> {
  return {
    list: async ({ node, page }, { signal }) => {
      const names = nodesOf(api, node === '' ? [] : [node]);
      const answers = await Promise.allSettled(names.map((name) => api.streams.images(name, signal)));
      // one node that does not answer must not hide the others; the only one asked for must
      if (node !== '' && answers[0]?.status === 'rejected') throw answers[0].reason;
      const images = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
      const sorted = images
        .map((image) => [`${image.reference}/${image.digest}/${image.node}`, image] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1));
      const { items, nextToken } = pageOf(sorted, page, ([key]) => key);
      return ListImagesResponse.create({ images: items.map(([, image]) => image), nextToken });
    },
    pull: ({ requestId, reference, nodes }, { identity, signal }) => {
      requireRequestId(requestId);
      if (!referencePattern.test(reference)) refuse('reference', 'an image reference', reference);
      if (nodes.length > limits.replicas) refuse('nodes', `at most ${limits.replicas}`, nodes.length);
      return api.guard.watching(identity, pull(api, reference, nodesOf(api, nodes), signal));
    },
  };
}

/** The nodes named, or all that are connected. @throws GantryError notFound, unavailable */
function nodesOf({ view }: Api, named: readonly string[]): string[] {
  for (const name of named) {
    if (!view.nodes.has(name) || view.nodes.get(name)!.value.removed) throw notFound('node', name, 'see gantry node ls');
    if (view.nodeState(name) !== NodeState.ready)
      throw new GantryError(Code.unavailable, `cannot reach node "${name}": it must be connected`);
  }
  if (named.length > 0) return [...new Set(named)];
  return [...view.nodes].filter(([name, { value }]) => !value.removed && view.nodeState(name) === NodeState.ready).map(([name]) => name);
}

/** Pulls on all nodes at once; a node that fails says so in its own message. */
function pull(api: Api, reference: string, nodes: readonly string[], signal: AbortSignal): AsyncIterable<PullImageProgress> {
  const merge = new Merge<PullImageProgress>({
    clock: api.clock,
    signal,
    timeOf: () => 0,
    patienceMs: 0,
    onFailure: (node, error) => PullImageProgress.create({ node, error: GantryError.from(error).message, finished: true }),
  });
  for (const node of nodes) merge.add({ name: node, items: named(node, api.streams.pull(node, reference, signal)) });
  merge.close();
  return merge;
}

async function* named(node: string, progress: AsyncIterable<PullImageProgress>): AsyncGenerator<PullImageProgress, void, void> {
  for await (const one of progress) yield { ...one, node };
}
