import { Port, PortProtocol } from '@gantry/proto';
import { oneOf, text, whole } from './scalars.ts';
import { type Context, type Located, mapping, mustBe, type Read } from './shape.ts';
import type { Value } from './tree.ts';

const most = 64;
const portNumber = whole(1, 65_535);
const protocols = { tcp: PortProtocol.tcp, udp: PortProtocol.udp } as const;

const longPort = mapping(
  { target: portNumber, published: text('a port or a range of ports'), protocol: oneOf(protocols), mode: oneOf({ ingress: true }) },
  {
    refused: {
      host_ip: 'ports are published on every node',
      name: 'a port is known by its number',
      app_protocol: 'traffic is passed on as it is',
    },
  },
);

type PortReader = (value: Value, context: Context) => Port[] | undefined;

const shortForm = /^(?:(\d+)(?:-(\d+))?:)?(\d+)(?:-(\d+))?(?:\/([a-z]+))?$/;
const shortMust = '"published:container", each a port from 1 to 65535 or a range, with /tcp or /udp';

const shortPort: PortReader = (value, context) => {
  const written = text(shortMust)(value, context);
  if (written === undefined) return undefined;
  if (/^(\[.*\]|\d+\.\d+\.\d+\.\d+):/.test(written)) {
    return context.problems.refuse(
      value.at,
      `cannot use port "${written}": not supported with an address`,
      'ports are published on every node: write "published:container"',
    );
  }
  const match = shortForm.exec(written);
  if (!match) return mustBe(value, context, shortMust);
  const [, published, publishedEnd, target, targetEnd, protocol = 'tcp'] = match;
  if (published === undefined) {
    return context.problems.refuse(
      value.at,
      `cannot publish port "${written}": must name the port of the nodes as well`,
      `write "${written.split('/')[0]}:${written}", or use expose:`,
    );
  }
  if (!Object.hasOwn(protocols, protocol)) return mustBe(value, context, shortMust);
  const from = range(published, publishedEnd);
  const to = range(target!, targetEnd);
  if (!from || !to) return mustBe(value, context, shortMust);
  if (from.length !== to.length) return mustBe(value, context, 'two ranges of the same length');
  return from.map((one, index) =>
    Port.create({ published: one, target: to[index]!, protocol: protocols[protocol as keyof typeof protocols] }),
  );
};

function range(first: string, last = first): number[] | undefined {
  const from = Number(first);
  const to = Number(last);
  if (from < 1 || to > 65_535 || to < from || to - from >= most) return undefined;
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

const longForm: PortReader = (value, context) => {
  const fields = longPort(value, context);
  if (!fields) return undefined;
  const { target, published, protocol = PortProtocol.tcp } = fields.values;
  if (!fields.has('target') || !fields.has('published')) {
    return context.problems.refuse(
      value.at,
      `cannot read "${value.path}": must have target and published`,
      'use expose: for a port that is not published',
    );
  }
  if (target === undefined || published === undefined) return undefined;
  const number = /^\d+$/.test(published) ? range(published)?.[0] : undefined;
  if (number === undefined) {
    return context.problems.refuse(
      fields.at('published'),
      `cannot read "${value.path}.published": must be a port from 1 to 65535, found ${JSON.stringify(published)}`,
    );
  }
  return [Port.create({ target, published: number, protocol })];
};

/** A list whose items may each be several ports. */
function portList(short: PortReader, long: PortReader): Read<Located<Port>[]> {
  return (value, context) => {
    if (value.kind !== 'list') return mustBe(value, context, 'a list of ports');
    const found = value.items.flatMap((item) => {
      const ports = (item.kind === 'scalar' ? short : long)(item, context) ?? [];
      return ports.map((port) => ({ at: item.at, item: port }));
    });
    if (found.length <= most) return found;
    return context.problems.refuse(value.at, `cannot read "${value.path}": must be at most ${most} ports, found ${found.length}`);
  };
}

export const ports = portList(shortPort, longForm);

const exposed: PortReader = (value, context) => {
  const must = 'a port from 1 to 65535 with /tcp or /udp';
  const match = /^(\d+)(?:\/([a-z]+))?$/.exec(text(must)(value, context) ?? '');
  if (!match) return value.kind === 'scalar' && value.text !== undefined ? mustBe(value, context, must) : undefined;
  const target = range(match[1]!)?.[0];
  const protocol = match[2] ?? 'tcp';
  if (target === undefined || !Object.hasOwn(protocols, protocol)) return mustBe(value, context, must);
  return [Port.create({ target, protocol: protocols[protocol as keyof typeof protocols] })];
};

/** `expose`: ports that other services reach, published nowhere. */
export const expose = portList(exposed, (value, context) => mustBe(value, context, 'a port'));
