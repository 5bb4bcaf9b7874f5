import { type NodeScore, WhyRequest, WhyResponse } from '@gantry/proto';
import type { GantryClient } from '../../gantry-client.ts';
import { type Format, printRecord, write } from '../output.ts';
import { funnelLines, refusalLines } from '../refusal.ts';
import { plain, style } from '../style.ts';
import { eventLine } from './events.ts';

const mostEvents = 10;

function scoreLines(scores: readonly NodeScore[]): string[] {
  return scores.map(({ node, score, parts }, index) => {
    const sum = parts.map((part) => `${part.name} ${(part.weight * part.value).toFixed(2)}`).join(' + ');
    const rank = index === 0 ? style.green('placed on') : 'runner-up';
    return `${rank}  ${style.bold(node)}  score ${score.toFixed(3)}${sum ? ` = ${sum}` : ''}`;
  });
}

/** The summary mostly begins with the subject itself. */
function headline(subject: string, summary: string): string {
  const rest = summary.startsWith(subject) ? summary.slice(subject.length) : `  ${summary}`;
  return `${style.bold(plain(subject))}${plain(rest)}`;
}

function lines({ subject, summary, refusal, service, scores, events }: WhyResponse): string[] {
  const text: string[] = [];
  if (refusal && service) text.push(...refusalLines(subject, { ...service, refusal }, style));
  else text.push(headline(subject, summary), ...(refusal ? funnelLines(refusal, style) : []));
  text.push(...scoreLines(scores));
  if (events.length > 0) text.push('', ...events.slice(-mostEvents).map(eventLine));
  return text;
}

/** gantry why */
export async function why(client: GantryClient, target: string, format: Format): Promise<void> {
  const answer = await client.containers.why(WhyRequest.create({ namespace: client.namespace, target }));
  if (format === 'json' || format === 'yaml') return printRecord(format, WhyResponse.toJson(answer));
  if (format === 'name') return write(`${answer.subject}\n`);
  await write(`${lines(answer).join('\n')}\n`);
}
