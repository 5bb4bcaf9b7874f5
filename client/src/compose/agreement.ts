import { MountType, PortProtocol } from '@gantry/proto';
import type { AppDraft } from './app.ts';
import type { Problems } from './problems.ts';
import type { Located } from './shape.ts';
import { closest } from './suggest.ts';

/** Notes what the parts of a manifest say against each other: unknown names, ports taken twice, dependencies in a circle. */
export function checkAgreement(draft: AppDraft, problems: Problems): void {
  checkNames(draft, problems);
  checkPorts(draft, problems);
  checkCycles(draft, problems);
}

function checkNames({ spec, services, networks }: AppDraft, problems: Problems): void {
  const names = (items: readonly { name: string }[]) => items.map((item) => item.name);
  const known = {
    volume: names(spec.volumes),
    config: names(spec.configs),
    secret: names(spec.secrets),
    service: names(spec.services),
    network: ['default', ...networks],
  };
  const check = (kind: keyof typeof known, used: readonly Located<string>[]): void => {
    for (const { at, item } of used) {
      if (known[kind].includes(item)) continue;
      const meant = closest(item, known[kind]);
      const hint = meant === undefined ? `declare it under ${kind}s: at the top level` : `did you mean "${meant}"?`;
      problems.refuse(at, `cannot find ${kind} "${item}": must be declared in this manifest`, hint);
    }
  };
  for (const { item } of services) {
    const { mounts, configs, secrets, dependsOn, affinities, networks: uses } = item.value;
    const ofVolumes = mounts.filter(({ item: mount }) => mount.type === MountType.volume && mount.source !== '');
    check(
      'volume',
      ofVolumes.map(({ at, item: mount }) => ({ at, item: mount.source })),
    );
    check(
      'config',
      configs.map(({ at, item: reference }) => ({ at, item: reference.source })),
    );
    check(
      'secret',
      secrets.map(({ at, item: reference }) => ({ at, item: reference.source })),
    );
    check(
      'service',
      dependsOn.map(({ at, item: dependency }) => ({ at, item: dependency.service })),
    );
    check(
      'service',
      affinities.map(({ at, item: { service } }) => ({ at, item: service })).filter(({ item: other }) => !other.includes('/')),
    );
    check(
      'network',
      uses.map(({ at, item: use }) => ({ at, item: use.name })),
    );
  }
}

function checkPorts({ services }: AppDraft, problems: Problems): void {
  const holders = new Map<string, string>();
  for (const { item } of services) {
    for (const { at, item: port } of item.value.ports) {
      if (port.published === 0) continue;
      const key = `${port.published}/${port.protocol === PortProtocol.udp ? 'udp' : 'tcp'}`;
      const holder = holders.get(key);
      if (holder !== undefined) {
        const who = holder === item.name ? 'this service' : `service "${holder}"`;
        problems.refuse(at, `cannot publish port ${key}: must be free, found it published by ${who} already`);
      }
      holders.set(key, item.name);
    }
  }
}

/** Reports each circle once, at the dependency of its first service that closes it. */
function checkCycles({ services }: AppDraft, problems: Problems): void {
  const edges = new Map(services.map(({ item }) => [item.name, item.value.dependsOn]));
  const done = new Set<string>();
  const visit = (name: string, path: readonly Located<string>[]): void => {
    const start = path.findIndex((step) => step.item === name);
    if (start >= 0) {
      const circle = [...path.slice(start).map((step) => step.item), name].join(' -> ');
      problems.refuse(path[start]!.at, `cannot start "${name}": depends_on must not go in a circle, found ${circle}`);
      return;
    }
    if (done.has(name)) return;
    for (const { at, item } of edges.get(name) ?? []) visit(item.service, [...path, { at, item: name }]);
    done.add(name);
  };
  for (const name of edges.keys()) visit(name, []);
}
