import { formatBytes, formatCpu, formatDuration, formatRate } from '@gantry/common';
import type { Refusal, Resources, ServiceView, Shortfall } from '@gantry/proto';
import { plain, type Style } from './style.ts';

const amounts: Readonly<Record<string, (value: number) => string>> = {
  cpu: formatCpu,
  memory: formatBytes,
  disk: formatBytes,
  io: formatRate,
  network: formatRate,
};
const dimensions = new Set([...Object.keys(amounts), 'pids']);
const amount = (dimension: string, value: number): string => (amounts[dimension] ?? String)(value);

/** "cpu 500m  mem 512Mi  io 20MB/s  net 6.3MB/s", what is not zero. */
function needsText(reservation: Resources | null | undefined): string {
  if (!reservation) return '';
  const parts: readonly (readonly [string, number, (value: number) => string])[] = [
    ['cpu', reservation.cpuMillis, formatCpu],
    ['mem', reservation.memoryBytes, formatBytes],
    ['io', reservation.ioBytesPerSecond, formatRate],
    ['net', reservation.networkBytesPerSecond, formatRate],
  ];
  return parts.flatMap(([name, value, format]) => (value > 0 ? [`${name} ${format(value)}`] : [])).join('  ');
}

function shortText({ dimension, missing, free, capacity }: Shortfall): string {
  return `${dimension} short ${amount(dimension, missing)} (${amount(dimension, free)} free of ${amount(dimension, capacity)})`;
}

/** The funnel, the nearest nodes and what would help. */
export function funnelLines(refusal: Refusal, style: Style): string[] {
  const stages = refusal.funnel.map(({ filter, need, passed }) => `${plain(dimensions.has(filter) ? filter : need || filter)} ${passed}`);
  const count = refusal.nodes === 1 ? '1 node' : `${refusal.nodes} nodes`;
  const lines = [[count, ...stages].join(' -> ')];
  refusal.nearest.forEach((near, index) => {
    const detail = near.shortfalls.map(shortText).join(', ') || near.detail || near.filter;
    lines.push(`${index === 0 ? 'nearest' : '       '}   ${style.bold(near.node)}  ${plain(detail)}`);
  });
  if (refusal.suggestions.length > 0) lines.push(`${style.bold('place it')}  ${refusal.suggestions.map(plain).join(' · ')}`);
  return lines;
}

/** A pending service as `why` and a failed wait show it. */
export function refusalLines(subject: string, view: ServiceView, style: Style): string[] {
  const { refusal, service } = view;
  if (!refusal) return [];
  const since = refusal.since > 0 ? ` ${formatDuration(Date.now() * 1000 - refusal.since)}` : '';
  const constraints = service?.spec?.placement?.constraints ?? [];
  const needs = [needsText(service?.spec?.reservation), ...constraints.map(plain)].filter((part) => part !== '').join('   ');
  return [
    `${style.bold(subject)} ${style.yellow('pending')}${since}   needs ${needs}`,
    ...(refusal.message ? [plain(refusal.message)] : []),
    ...funnelLines(refusal, style),
  ];
}
