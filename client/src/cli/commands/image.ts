import { formatBytes, formatDuration, newId } from '@gantry/common';
import { ListImagesRequest, NodeImage, PullImageRequest } from '@gantry/proto';
import { allPages, type GantryClient } from '../../gantry-client.ts';
import { type Format, print, say, write } from '../output.ts';
import { plain } from '../style.ts';

/** gantry image ls */
export async function images(client: GantryClient, node: string, format: Format): Promise<void> {
  const rows = await allPages(async (page) => {
    const answer = await client.images.list(ListImagesRequest.create({ node, page }));
    return { items: answer.images, nextToken: answer.nextToken };
  });
  await print(format, {
    rows,
    columns: [
      { header: 'NODE', value: (one: NodeImage) => one.node },
      { header: 'IMAGE', value: (one) => one.reference },
      { header: 'DIGEST', value: (one) => one.digest.slice(0, 19) },
      { header: 'SIZE', value: (one) => formatBytes(one.sizeBytes), right: true },
      { header: 'PULLED', value: (one) => formatDuration(Date.now() * 1000 - one.pulledAt), right: true },
    ],
    name: (one) => one.reference,
    json: () => ({ images: rows.map((one) => NodeImage.toJson(one)) }),
    empty: 'No images.',
  });
}

/** gantry image pull: returns the exit code. */
export async function pull(client: GantryClient, reference: string, nodes: readonly string[]): Promise<number> {
  let failed = 0;
  for await (const progress of client.images.pull(PullImageRequest.create({ requestId: newId(), reference, nodes: [...nodes] }))) {
    if (progress.error !== '') {
      failed++;
      say(`${progress.node}: ${plain(progress.error)}`);
    } else if (progress.finished) {
      await write(`${progress.node}: ${progress.digest}\n`);
    }
  }
  return failed > 0 ? 1 : 0;
}
