import { formatDuration, newId } from '@gantry/common';
import { CreateTokenRequest, CreateTokenResponse, JoinToken, ListTokensRequest, RevokeTokenRequest } from '@gantry/proto';
import { allPages, type GantryClient } from '../../gantry-client.ts';
import { type Format, print, printRecord, write } from '../output.ts';
import { plain } from '../style.ts';

/** gantry token create */
export async function createToken(
  client: GantryClient,
  { ttlUs, uses, description, format }: { ttlUs: number; uses: number; description: string; format: Format },
): Promise<void> {
  const answer = await client.nodes.createToken(CreateTokenRequest.create({ requestId: newId(), ttlUs, uses, description }));
  if (format === 'json' || format === 'yaml') return printRecord(format, CreateTokenResponse.toJson(answer));
  await write(`${answer.token}\n`);
}

/** gantry token ls */
export async function listTokens(client: GantryClient, format: Format): Promise<void> {
  const rows = await allPages(async (page) => {
    const answer = await client.nodes.listTokens(ListTokensRequest.create({ page }));
    return { items: answer.tokens, nextToken: answer.nextToken };
  });
  await print(format, {
    rows,
    columns: [
      { header: 'ID', value: (one: JoinToken) => one.id },
      { header: 'USES LEFT', value: (one) => String(one.usesLeft), right: true },
      { header: 'EXPIRES IN', value: (one) => formatDuration(one.expiresAt - Date.now() * 1000), right: true },
      { header: 'DESCRIPTION', value: (one) => plain(one.description) },
    ],
    name: (one) => one.id,
    json: () => ({ tokens: rows.map((one) => JoinToken.toJson(one)) }),
    empty: 'No tokens.',
  });
}

/** gantry token revoke */
export async function revokeToken(client: GantryClient, id: string): Promise<void> {
  await client.nodes.revokeToken(RevokeTokenRequest.create({ requestId: newId(), id }));
  await write(`${id} revoked\n`);
}
