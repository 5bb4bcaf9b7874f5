import { GantryError } from '@gantry/common';
import { AgentsService, type Connection, createClient, PullImageProgress, PullStreamMessage } from '@gantry/proto';
import type { ImageStore } from '../image/images.ts';

export interface PullStreamInput {
  stream: string;
  node: string;
  reference: string;
  connection: Connection;
  signal: AbortSignal;
  images: Pick<ImageStore, 'ensure'>;
}

/** Pulls an image and tells over a stream of its own how far it is; a slow stream hears less often. */
export async function runPull(input: PullStreamInput): Promise<void> {
  await createClient(AgentsService, input.connection).pullStream(messages(input), { signal: input.signal });
}

async function* messages({ stream, node, reference, signal, images }: PullStreamInput): AsyncGenerator<PullStreamMessage> {
  let newest: Partial<PullImageProgress> | undefined;
  let last: Partial<PullImageProgress> | undefined;
  let wake = () => {};
  const pull = images.ensure(reference, {
    signal,
    onProgress: ({ doneBytes, totalBytes }) => {
      newest = { doneBytes, totalBytes };
      wake();
    },
  });
  void pull
    .then(
      ({ digest, sizeBytes }) => {
        last = { digest, doneBytes: sizeBytes, totalBytes: sizeBytes, finished: true };
      },
      (error: unknown) => {
        last = { error: GantryError.from(error).message, finished: true };
      },
    )
    .finally(() => wake());
  const message = (progress: Partial<PullImageProgress>) =>
    PullStreamMessage.create({ stream, progress: PullImageProgress.create({ node, ...progress }) });
  yield message({});
  for (;;) {
    const progress = last ?? newest;
    newest = undefined;
    if (progress) yield message(progress);
    if (progress?.finished) return;
    if (!last && !newest) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
}
