import { GantryError } from '@gantry/common';
import { AppSpec, FileSpec, VolumeSpec } from '@gantry/proto';
import { labels } from './environment.ts';
import { flag, name, text } from './scalars.ts';
import { type ServiceDraft, service } from './service.ts';
import { type Context, type Located, mapping, mustBe, mustHave, named, type Read } from './shape.ts';
import type { Value } from './tree.ts';
import { refusedTopLevelKeys } from './unsupported.ts';

const mostFileBytes = 512 * 1024 - 4096;
const mostServices = 500;

function isNothing(value: Value): boolean {
  return value.kind === 'scalar' && value.text === undefined;
}

const outside = { external: 'everything of an app stands in its manifest', name: 'it is known by its key' };

const volumeTable = mapping(
  { labels, 'x-gantry': mapping({ single_writer: flag }) },
  { refused: { ...outside, driver: 'volumes are folders of a node', driver_opts: 'volumes are folders of a node' } },
);
const volume: Read<Partial<VolumeSpec>> = (value, context) => {
  if (isNothing(value)) return {};
  const values = volumeTable(value, context)?.values;
  return values && { labels: values.labels ?? {}, singleWriter: values['x-gantry']?.values.single_writer ?? false };
};

const networkReason = 'all services of an app reach each other by name over the network of the cluster';
const networkTable = mapping(
  { labels },
  {
    refused: {
      ...outside,
      attachable: networkReason,
      driver: networkReason,
      driver_opts: networkReason,
      enable_ipv4: networkReason,
      enable_ipv6: networkReason,
      internal: networkReason,
      ipam: networkReason,
    },
  },
);
const network: Read<true> = (value, context) => (isNothing(value) || networkTable(value, context) ? true : undefined);

const fileTable = mapping(
  {
    file: text('a path'),
    content: text('text', undefined, mostFileBytes),
    environment: text("a variable's name", /^[A-Za-z_]\w*$/),
    labels,
  },
  { refused: { ...outside, driver: 'the content is kept by Gantry', template_driver: 'the content is taken as it is' } },
);
const sources = ['file', 'content', 'environment'] as const;

/** The content of a config or secret, from exactly one source. */
const file: Read<Uint8Array> = (value, context) => {
  const fields = fileTable(value, context);
  if (!fields) return undefined;
  const given = sources.filter((source) => fields.has(source));
  if (given.length !== 1) {
    const found = given.length === 0 ? 'none' : given.join(' and ');
    return mustHave(value, context, `one of file, content and environment, found ${found}`);
  }
  const source = given[0]!;
  const said = fields.values[source];
  return said === undefined ? undefined : contentOf(source, said, fields.at(source), value.path, context);
};

function contentOf(source: (typeof sources)[number], said: string, at: number, path: string, context: Context): Uint8Array | undefined {
  if (source === 'content') return Buffer.from(said);
  if (source === 'environment') {
    const content = Object.hasOwn(context.variables, said) ? context.variables[said] : undefined;
    if (content !== undefined) return Buffer.from(content);
    return context.problems.refuse(at, `cannot read "${path}": variable "${said}" must be set, found nothing`);
  }
  try {
    const content = context.readFile(said);
    if (content.length <= mostFileBytes) return content;
    return context.problems.refuse(
      at,
      `cannot read "${path}": file "${said}" must be at most ${mostFileBytes} bytes, found ${content.length}`,
    );
  } catch (error) {
    return context.problems.refuse(at, `cannot read "${path}": file "${said}" must be readable: ${GantryError.from(error).message}`);
  }
}

const services: Read<Located<{ name: string; value: ServiceDraft }>[]> = (value, context) => {
  const found = named('services', name, service)(value, context);
  if (value.kind !== 'mapping') return found;
  if (value.entries.size === 0) return mustBe(value, context, 'a mapping of at least one service');
  if (value.entries.size <= mostServices) return found;
  return context.problems.refuse(value.at, `cannot read "services": must be at most ${mostServices}, found ${value.entries.size}`);
};

/** `version`: a relic that says nothing. */
const version: Read<true> = (value, context) => {
  context.problems.warn(value.at, 'version: is not needed any more and says nothing');
  return true;
};

function emptyOr<T>(read: Read<T[]>): Read<T[]> {
  return (value, context) => (isNothing(value) ? [] : read(value, context));
}

const topLevel = mapping(
  {
    name,
    version,
    services,
    volumes: emptyOr(named('volumes', name, volume)),
    networks: emptyOr(named('networks', name, network)),
    configs: emptyOr(named('configs', name, file)),
    secrets: emptyOr(named('secrets', name, file)),
  },
  { refused: refusedTopLevelKeys, extensions: true },
);

/** An app and the places of what its parts must agree on. */
export interface AppDraft {
  readonly spec: AppSpec;
  readonly services: readonly Located<{ name: string; value: ServiceDraft }>[];
  readonly networks: readonly string[];
}

/** The whole manifest. */
export const app: Read<AppDraft> = (value, context) => {
  if (isNothing(value)) return mustBe(value, context, 'a Compose file', 'begin with name: and services:');
  const fields = topLevel(value, context);
  if (!fields) return undefined;
  const { values } = fields;
  if (!fields.has('name'))
    context.problems.refuse(value.at, 'cannot read manifest: must have a name', 'begin with a line such as "name: shop"');
  if (!fields.has('services')) context.problems.refuse(value.at, 'cannot read manifest: must have services');
  const drafts = values.services ?? [];
  const specs = (kind: 'configs' | 'secrets') =>
    (values[kind] ?? []).map(({ item }) => FileSpec.create({ name: item.name, content: item.value }));
  const spec = AppSpec.create({
    name: values.name ?? '',
    services: drafts.map(({ item }) => ({ ...item.value.spec, name: item.name })),
    volumes: (values.volumes ?? []).map(({ item }) => VolumeSpec.create({ ...item.value, name: item.name })),
    configs: specs('configs'),
    secrets: specs('secrets'),
  });
  const networks = (values.networks ?? []).map(({ item }) => item.name);
  if (networks.length > 1)
    context.problems.warn(fields.at('networks'), 'networks: do not separate services: all of an app reach each other');
  return { spec, services: drafts, networks };
};
