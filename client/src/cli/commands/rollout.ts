import { formatDuration, newId } from '@gantry/common';
import { GetServiceRequest, HistoryRequest, Revision, RolloutRequest, RolloutState, ServiceView } from '@gantry/proto';
import { allPages, type GantryClient } from '../../gantry-client.ts';
import { type Format, print, printRecord, write } from '../output.ts';
import { nameOf, plain, style } from '../style.ts';
import { keyText, resolveService } from '../target.ts';

/** gantry rollout status SERVICE */
export async function rolloutStatus(client: GantryClient, name: string, format: Format): Promise<void> {
  const key = await resolveService(client, name);
  const view = await client.services.get(GetServiceRequest.create({ key }));
  if (format === 'json' || format === 'yaml') return printRecord(format, ServiceView.toJson(view));
  const { rollout, service, updated, ready, desired } = view;
  const lines = [`${style.bold(keyText(key))}  revision ${service?.generation ?? 0}, ${ready}/${desired} ready`];
  if (rollout) {
    const from = rollout.fromRevision > 0 ? ` from revision ${rollout.fromRevision}` : '';
    const state = nameOf(RolloutState, rollout.state).replace('_', ' ');
    lines.push(`${state}${from} to ${rollout.toRevision}: ${updated}/${desired} updated, ${rollout.failedContainers} failed`);
    if (rollout.reason) lines.push(plain(rollout.reason));
  }
  await write(`${lines.join('\n')}\n`);
}

/** gantry rollout history SERVICE */
export async function history(client: GantryClient, name: string, format: Format): Promise<void> {
  const key = await resolveService(client, name);
  let current = 0;
  const revisions = await allPages(async (page) => {
    const answer = await client.services.history(HistoryRequest.create({ key, page }));
    current = answer.current;
    return { items: answer.revisions, nextToken: answer.nextToken };
  });
  const rows = revisions.toSorted((a, b) => b.number - a.number);
  await print(format, {
    rows,
    columns: [
      { header: 'REVISION', value: (one: Revision) => `${one.number}${one.number === current ? ' (current)' : ''}` },
      { header: 'AGE', value: (one) => formatDuration(Date.now() * 1000 - one.createdAt), right: true },
      { header: 'BY', value: (one) => one.createdBy },
      { header: 'IMAGE', value: (one) => one.spec?.container?.image ?? '' },
    ],
    name: (one) => String(one.number),
    json: () => ({ revisions: rows.map((one) => Revision.toJson(one)), current }),
    empty: 'No revisions.',
  });
}

/** gantry rollout pause | resume SERVICE */
export async function steer(client: GantryClient, name: string, action: 'pause' | 'resume'): Promise<void> {
  const key = await resolveService(client, name);
  const request = RolloutRequest.create({ requestId: newId(), key });
  await (action === 'pause' ? client.services.pauseRollout(request) : client.services.resumeRollout(request));
  await write(`${keyText(key)}: rollout ${action}d\n`);
}
