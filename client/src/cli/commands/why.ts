import { formatBytes, formatCpu, formatDuration, formatRate } from '@gantry/common';
import {
  type NodeScore,
  type Refusal,
  type Resources,
  type ServiceView,
  type Shortfall,
  WhyResponse as WhyMessage,
  WhyRequest,
  type WhyResponse,
} from '@gantry/proto';
import type { GantryClient } from '../../gantry-client.ts';
import type { Format } from '../format.ts';
import { print, write } from '../output.ts';
import { plain, style } from '../style.ts';

const amounts: Readonly<Record<string, (value: number) => string>> = {
  cpu: formatCpu,
  memory: formatBytes,
  disk: formatBytes,
  io: formatRate,
  network: formatRate,
};
const amount = (dimension: string, value: number): string => (amounts[dimension] ?? String)(value);

function needs(reservation: Resources | null | undefined): string {
  if (!reservation) return '';
  const parts = [
    ['cpu', reservation.cpuMillis],
    ['mem', reservation.memoryBytes],
    ['io', reservation.ioBytesPerSecond],
    ['net', reservation.networkBytesPerSecond],
  ] as const;
  const unit: Readonly<Record<string, (value: number) => string>> = { cpu: formatCpu, mem: formatBytes, io: formatRate, net: formatRate };
  return parts.flatMap(([name, value]) => (value > 0 ? [`${name} ${unit[name]!(value)}`] : [])).join('  ');
}

function shortText({ dimension, missing, free, capacity }: Shortfall): string {
  return `${dimension} short ${amount(dimension, missing)} (${amount(dimension, free)} free of ${amount(dimension, capacity)})`;
}

/** The funnel, the nearest nodes and what would help. */
function funnelLines(refusal: Refusal): string[] {
  const funnel = refusal.funnel.map((filter) => `${filter.need || filter.filter} ${filter.passed}`);
  const lines = [`${refusal.nodes} nodes -> ${funnel.join(' -> ')}`];
  refusal.nearest.forEach((near, index) => {
    const detail = near.shortfalls.map(shortText).join(', ') || near.detail || near.filter;
    lines.push(`${index === 0 ? 'nearest' : '       '}   ${style.bold(near.node)}  ${plain(detail)}`);
  });
  if (refusal.suggestions.length > 0) lines.push(`${style.bold('place it')}  ${refusal.suggestions.map(plain).join(' · ')}`);
  return lines;
}

/** A pending service as `why` and a failed `apply` show it. */
export function refusalLines(subject: string, view: ServiceView): string[] {
  const { refusal } = view;
  if (!refusal) return [];
  const since = refusal.since > 0 ? ` ${formatDuration(Date.now() * 1000 - refusal.since)}` : '';
  return [
    `${style.bold(subject)} ${style.yellow('pending')}${since}   needs ${needs(view.service?.spec?.reservation)}`,
    ...funnelLines(refusal),
  ];
}

function scoreLines(scores: readonly NodeScore[]): string[] {
  return scores.map((one, index) => {
    const parts = one.parts.map((part) => `${part.name} ${(part.weight * part.value).toFixed(2)}`).join(' + ');
    return `${index === 0 ? style.green('placed on') : 'runner-up'}  ${style.bold(one.node)}  score ${one.score.toFixed(3)}${parts ? ` = ${parts}` : ''}`;
  });
}

function lines(answer: WhyResponse): string[] {
  const text = [`${style.bold(answer.subject)}  ${plain(answer.summary)}`];
  if (answer.refusal) text.push(...funnelLines(answer.refusal));
  text.push(...scoreLines(answer.scores));
  for (const event of answer.events.slice(-10))
    text.push(`${style.dim(new Date(event.at / 1000).toISOString())}  ${event.type}  ${plain(event.message)}`);
  return text;
}

/** gantry why */
export async function why(client: GantryClient, target: string, format: Format): Promise<void> {
  const answer = await client.containers.why(WhyRequest.create({ namespace: client.namespace, target }));
  if (format === 'json' || format === 'yaml') {
    return print(format, { rows: [answer], columns: [], name: (one) => one.subject, json: () => WhyMessage.toJson(answer), empty: '' });
  }
  await write(`${lines(answer).join('\n')}\n`);
}
