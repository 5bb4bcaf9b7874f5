import { formatBytes, formatCpu, formatRate } from '@gantry/common';
import { type FieldChange, type NodeCapacity, type PlannedPlacement, PlanRequest, PlanResponse, ServiceChangeKind } from '@gantry/proto';
import type { GantryClient } from '../../gantry-client.ts';
import { readManifest } from '../manifest.ts';
import { type Format, printRecord, terminalWidth, write } from '../output.ts';
import { nameOf, plain, style } from '../style.ts';
import { type Column, tableLines } from '../table.ts';

/** Letters of a value that a line of the diff shows. */
const longest = 200;

function valueText(json: string): string {
  return plain(json.length > longest ? `${json.slice(0, longest - 1)}…` : json);
}

function fieldLines(fields: readonly FieldChange[]): string[] {
  return fields.flatMap(({ path, before, after }) => [
    ...(before === '' ? [] : [style.red(`    - ${path}: ${valueText(before)}`)]),
    ...(after === '' ? [] : [style.green(`    + ${path}: ${valueText(after)}`)]),
  ]);
}

const signs: Readonly<Record<ServiceChangeKind, string>> = {
  [ServiceChangeKind.unchanged]: ' ',
  [ServiceChangeKind.created]: style.green('+'),
  [ServiceChangeKind.updated]: style.yellow('~'),
  [ServiceChangeKind.scaled]: style.yellow('~'),
  [ServiceChangeKind.removed]: style.red('-'),
};

/** Placements of a service: counted by node, each refused one with its reason. */
function placementLines(placements: readonly PlannedPlacement[]): string[] {
  const byNode = new Map<string, number>();
  for (const { node } of placements) if (node !== '') byNode.set(node, (byNode.get(node) ?? 0) + 1);
  const placed = [...byNode].map(([node, count]) => (count === 1 ? style.bold(node) : `${style.bold(node)} x${count}`));
  const refused = placements.filter((placement) => placement.node === '');
  const lines = placed.length > 0 ? [`    goes to ${placed.join(', ')}`] : [];
  if (refused.length === 0) return lines;
  const first = refused[0]!.refusal;
  const help = first?.suggestions[0];
  return [
    ...lines,
    `    ${style.red(`${refused.length} would not fit`)}: ${plain(first?.message ?? 'no node takes it')}${help ? ` (${plain(help)})` : ''}`,
  ];
}

/** "100m -> 300m of 2" */
function change(amount: (one: NonNullable<NodeCapacity['capacity']>) => string): (node: NodeCapacity) => string {
  const value = (resources: NodeCapacity['capacity']) => (resources ? amount(resources) : '-');
  return (node) => `${value(node.reservedBefore)} -> ${value(node.reservedAfter)} of ${value(node.capacity)}`;
}

const capacityColumns: readonly Column<NodeCapacity>[] = [
  { header: 'NODE', value: (node) => node.node },
  { header: 'CPU', value: change((one) => formatCpu(one.cpuMillis)) },
  { header: 'MEMORY', value: change((one) => formatBytes(one.memoryBytes)) },
  { header: 'IO', value: change((one) => formatRate(one.ioBytesPerSecond)) },
  { header: 'NETWORK', value: change((one) => formatRate(one.networkBytesPerSecond)) },
];

function planLines(plan: PlanResponse, app: string): string[] {
  const lines: string[] = [];
  for (const { service, kind, fields } of plan.changes) {
    const placements = placementLines(plan.placements.filter((placement) => placement.service === service));
    if (kind === ServiceChangeKind.unchanged && placements.length === 0) continue;
    lines.push(
      `${signs[kind]} ${style.bold(`${app}/${service}`)} ${nameOf(ServiceChangeKind, kind)}`,
      ...fieldLines(fields),
      ...placements,
    );
  }
  if (plan.placements.length > 0 && plan.capacity.length > 0)
    lines.push('', ...tableLines(plan.capacity, capacityColumns, terminalWidth()));
  return [...lines, ...plan.warnings.map((warning) => `${style.yellow('warning:')} ${plain(warning)}`)];
}

/** gantry plan; returns the exit code: 0 no change, 10 changes. */
export async function plan(client: GantryClient, file: string | undefined, format: Format): Promise<number> {
  const app = await readManifest(file, client.namespace);
  const answer = await client.apps.plan(PlanRequest.create({ app }));
  const changes = answer.changes.some((one) => one.kind !== ServiceChangeKind.unchanged);
  if (format === 'json' || format === 'yaml') await printRecord(format, PlanResponse.toJson(answer));
  else await write(changes ? `${planLines(answer, app.name).join('\n')}\n` : `${app.name}: no change\n`);
  return changes ? 10 : 0;
}
