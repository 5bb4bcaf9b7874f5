import { posix } from 'node:path';
import { GantryError, parseBytes } from '@gantry/common';
import { Mount, MountType } from '@gantry/proto';
import { bytes, flag, name, oneOf, text } from './scalars.ts';
import { type Context, type Located, located, mapping, mustBe, type Read } from './shape.ts';
import type { Value } from './tree.ts';

const most = 64;
const targetMust = 'an absolute path below / without ".."';
const sourceMust = 'an absolute path of the node without ".."';

function isTarget(path: string): boolean {
  return path.startsWith('/') && posix.normalize(path) !== '/' && !path.split('/').includes('..');
}

function isHostPath(path: string): boolean {
  return path.startsWith('/') && !path.split('/').includes('..');
}

/** Permission bits: "0440"; without the leading 0 it could mean either of two things. */
export const mode: Read<number> = (value, context) => {
  if (value.kind === 'scalar' && /^0o?[0-7]{1,4}$/.test(value.text ?? '')) return Number.parseInt(value.text!.replace('o', ''), 8);
  return mustBe(value, context, 'permission bits with a leading 0 such as 0440');
};

const shortMust = '"volume:/path", "/host/path:/path" or "/path", with :ro or :rw';

const shortMount: Read<Mount> = (value, context) => {
  const written = text(shortMust)(value, context);
  if (written === undefined) return undefined;
  const parts = written.split(':');
  if (parts.length > 3 || parts.includes('')) return mustBe(value, context, shortMust);
  const [source, target, access] = parts.length === 1 ? ['', parts[0]!, 'rw'] : [parts[0]!, parts[1]!, parts[2] ?? 'rw'];
  if (access !== 'ro' && access !== 'rw') {
    return context.problems.refuse(value.at, `cannot use mount option "${access}" in "${written}": must be ro or rw`);
  }
  if (!isTarget(target)) {
    return context.problems.refuse(value.at, `cannot mount at "${target}": must be ${targetMust}`);
  }
  const isPath = /^[./~]/.test(source) || source.includes('/');
  if (isPath && !isHostPath(source)) {
    const hint = 'paths are those of the nodes, where the manifest is not: use a volume, or a config for a file';
    return context.problems.refuse(value.at, `cannot mount "${source}": must be ${sourceMust}`, hint);
  }
  if (!isPath && source !== '' && name({ ...value, kind: 'scalar', text: source }, context) === undefined) return undefined;
  return Mount.create({ type: isPath ? MountType.bind : MountType.volume, source, target, readOnly: access === 'ro' });
};

const refusedVolumeKeys = { nocopy: 'a new volume is empty', subpath: 'use one volume for each' };
const longTable = mapping(
  {
    type: oneOf({ volume: MountType.volume, bind: MountType.bind, tmpfs: MountType.tmpfs }),
    source: text('a volume or a path'),
    target: text('a path'),
    read_only: flag,
    tmpfs: mapping({ size: bytes(4096), mode }),
    bind: mapping(
      {},
      { refused: { propagation: 'mounts are private', create_host_path: 'make the path on the nodes', selinux: 'not used' } },
    ),
    volume: mapping({}, { refused: refusedVolumeKeys }),
  },
  { refused: { consistency: 'has no meaning on Linux', image: 'use a volume' } },
);

const longMount: Read<Mount> = (value, context) => {
  const fields = longTable(value, context);
  if (!fields) return undefined;
  const { type, source = '', target = '', read_only: readOnly = false, tmpfs } = fields.values;
  if (type === undefined) return fields.has('type') ? undefined : mustBe(value, context, 'a mapping with type: volume, bind or tmpfs');
  const at = (key: 'source' | 'target', must: string, found: string) =>
    context.problems.refuse(fields.at(key), `cannot read "${value.path}.${key}": must be ${must}, found ${JSON.stringify(found)}`);
  if (!isTarget(target)) return at('target', targetMust, target);
  if (type === MountType.bind && !isHostPath(source)) return at('source', sourceMust, source);
  if (type === MountType.tmpfs && source !== '') return at('source', 'absent for tmpfs', source);
  if (type !== MountType.tmpfs && fields.has('tmpfs')) {
    return context.problems.refuse(fields.at('tmpfs'), `cannot use "${value.path}.tmpfs": must be with type: tmpfs`);
  }
  return Mount.create({ type, source, target, readOnly, tmpfsBytes: tmpfs?.values.size ?? 0, tmpfsMode: tmpfs?.values.mode ?? 0 });
};

export const volumes: Read<Located<Mount>[]> = located(
  (value, context) => (value.kind === 'mapping' ? longMount : shortMount)(value, context),
  'mounts',
  most,
);

const oneTmpfs: Read<Mount> = (value, context) => {
  const written = text('"/path" or "/path:size=64m,mode=0700"')(value, context);
  if (written === undefined) return undefined;
  const colon = written.indexOf(':');
  const target = colon < 0 ? written : written.slice(0, colon);
  if (!isTarget(target)) return context.problems.refuse(value.at, `cannot mount tmpfs at "${target}": must be ${targetMust}`);
  const mount = Mount.create({ type: MountType.tmpfs, target });
  const options = colon < 0 ? [] : written.slice(colon + 1).split(',');
  return options.every((option) => tmpfsOption(mount, option, value, context)) ? mount : undefined;
};

function tmpfsOption(mount: Mount, option: string, value: Value, context: Context): boolean {
  const [key, content = ''] = option.split('=');
  if (option === 'ro' || option === 'rw') {
    mount.readOnly = option === 'ro';
  } else if (key === 'mode' && /^0?[0-7]{1,4}$/.test(content)) {
    // mount(8) reads it as octal in any case
    mount.tmpfsMode = Number.parseInt(content, 8);
  } else if (key === 'size') {
    try {
      mount.tmpfsBytes = parseBytes(content);
    } catch (error) {
      context.problems.refuse(value.at, `cannot read "${value.path}": ${GantryError.from(error).message}`);
      return false;
    }
  } else {
    context.problems.refuse(value.at, `cannot use tmpfs option "${option}": must be size=, mode=, ro or rw`);
    return false;
  }
  return true;
}

/** `tmpfs`: one or a list. */
export const tmpfs: Read<Located<Mount>[]> = (value, context) => {
  if (value.kind === 'list') return located(oneTmpfs, 'mounts', most)(value, context);
  const mount = oneTmpfs(value, context);
  return mount && [{ at: value.at, item: mount }];
};
