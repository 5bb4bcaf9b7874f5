import { Dependency, DependencyCondition, FileReference } from '@gantry/proto';
import { mode } from './mounts.ts';
import { name, oneOf, text } from './scalars.ts';
import { type Located, located, mapping, mustBe, named, type Read } from './shape.ts';

const fileTable = mapping({
  source: name,
  target: text('a path'),
  uid: text('a number', /^\d{1,10}$/),
  gid: text('a number', /^\d{1,10}$/),
  mode,
});

/** `configs` and `secrets` of a service; a target that is not absolute stands below `folder`. */
function references(folder: string): Read<Located<FileReference>[]> {
  const place = (target: string): string => (target.startsWith('/') ? target : `${folder}${target}`);
  const each: Read<FileReference> = (value, context) => {
    if (value.kind !== 'mapping') {
      const source = name(value, context);
      return source === undefined ? undefined : FileReference.create({ source, target: place(source) });
    }
    const fields = fileTable(value, context);
    if (!fields) return undefined;
    const { source, target, uid = '', gid = '', mode: bits = 0 } = fields.values;
    if (source === undefined) return fields.has('source') ? undefined : mustBe(value, context, 'a mapping with source');
    const path = place(target ?? source);
    if (path.split('/').includes('..') || path.endsWith('/')) {
      return context.problems.refuse(
        fields.at('target'),
        `cannot read "${value.path}.target": must be a file's path without "..", found "${path}"`,
      );
    }
    return FileReference.create({ source, target: path, uid, gid, mode: bits });
  };
  return located(each, 'files', 64);
}

export const configReferences = references('/');
export const secretReferences = references('/run/secrets/');

const { service_started, service_healthy, service_completed_successfully } = DependencyCondition;
const dependencyTable = mapping(
  { condition: oneOf({ service_started, service_healthy, service_completed_successfully }), required: oneOf({ true: true }) },
  { refused: { restart: 'a change of the other service does not touch this one' } },
);
const shortDependencies = located(name, 'services', 64);
const longDependencies = named('services', name, dependencyTable);

/** `depends_on`: a list of services, or a mapping with conditions. */
export const dependsOn: Read<Located<Dependency>[]> = (value, context) => {
  if (value.kind !== 'mapping') {
    return shortDependencies(value, context)?.map(({ at, item }) => ({ at, item: Dependency.create({ service: item }) }));
  }
  return longDependencies(value, context)?.map(({ at, item }) => ({
    at,
    item: Dependency.create({ service: item.name, condition: item.value.values.condition ?? service_started }),
  }));
};

/** A network that a service joins, with further names of the service in it. */
export interface NetworkUse {
  name: string;
  aliases: string[];
}

const refusedNetworkKeys = {
  ipv4_address: 'addresses are given by the cluster',
  ipv6_address: 'addresses are given by the cluster',
  link_local_ips: 'addresses are given by the cluster',
  mac_address: 'addresses are given by the cluster',
  interface_name: 'a container has one interface, eth0',
  driver_opts: 'networks have no drivers',
  gw_priority: 'a container has one network',
  priority: 'a container has one network',
};
const useTable = mapping({ aliases: located(name, 'names', 32) }, { refused: refusedNetworkKeys });
const orNothing: Read<string[]> = (value, context) => {
  if (value.kind === 'scalar' && value.text === undefined) return [];
  return useTable(value, context)?.values.aliases?.map(({ item }) => item) ?? [];
};
const longNetworks = named('networks', name, orNothing);
const shortNetworks = located(name, 'networks', 32);

/** `networks` of a service. */
export const networkUses: Read<Located<NetworkUse>[]> = (value, context) => {
  if (value.kind !== 'mapping') return shortNetworks(value, context)?.map(({ at, item }) => ({ at, item: { name: item, aliases: [] } }));
  return longNetworks(value, context)?.map(({ at, item }) => ({ at, item: { name: item.name, aliases: item.value } }));
};
