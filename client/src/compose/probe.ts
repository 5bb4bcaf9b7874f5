import { Probe, ProbeType } from '@gantry/proto';
import { commandLine } from './command.ts';
import { duration, flag, text, whole } from './scalars.ts';
import { type Context, type Fields, list, mapping, mustBe, mustHave, type Read } from './shape.ts';
import type { Value } from './tree.ts';

const second = 1_000_000;
const leastInterval = 1000;

const testMust = '"command", ["CMD", …], ["CMD-SHELL", "command"] or ["NONE"]';

/** What a health check runs; an empty list means that the image's own is switched off. */
const healthTest: Read<string[]> = (value, context) => {
  if (value.kind === 'scalar') {
    const line = text(testMust, /\S/)(value, context);
    return line === undefined ? undefined : ['/bin/sh', '-c', line];
  }
  const [kind, ...rest] = list(text('text'), 'words', 256)(value, context) ?? [];
  if (kind === 'NONE' && rest.length === 0) return [];
  if (kind === 'CMD' && rest.length > 0) return rest;
  if (kind === 'CMD-SHELL' && rest.length === 1) return ['/bin/sh', '-c', rest[0]!];
  return mustBe(value, context, testMust);
};

const timing = {
  interval: duration(leastInterval),
  timeout: duration(leastInterval),
  retries: whole(1, 1000),
  start_period: duration(),
};

type Timing = Fields<typeof timing>['values'];

function timed(
  probe: Partial<Probe>,
  { interval, timeout, retries = 3, start_period: startPeriod = 0 }: Timing,
  standardUs: number,
): Probe {
  return Probe.create({
    ...probe,
    intervalUs: interval ?? standardUs,
    timeoutUs: timeout ?? standardUs,
    retries,
    startPeriodUs: startPeriod,
  });
}

const healthTable = mapping(
  { test: healthTest, disable: flag, ...timing },
  { refused: { start_interval: 'checks run every interval from the start' } },
);

/** `healthcheck`, with Compose's defaults of 30 s, 30 s and 3 retries. */
export const healthcheck: Read<Probe> = (value, context) => {
  const fields = healthTable(value, context);
  if (!fields) return undefined;
  const { test, disable } = fields.values;
  if (disable) return Probe.create({ type: ProbeType.none });
  if (!fields.has('test')) {
    return mustHave(value, context, 'a test', 'write test: ["CMD-SHELL", "command"]');
  }
  if (test === undefined) return undefined;
  if (test.length === 0) return Probe.create({ type: ProbeType.none });
  return timed({ type: ProbeType.exec, command: test }, fields.values, 30 * second);
};

const httpMust = 'a URL of the container such as "http://:8080/ready"';

const http: Read<Partial<Probe>> = (value, context) => {
  const written = text(httpMust)(value, context);
  if (written === undefined) return undefined;
  const match = /^(?:http:\/\/)?(?:localhost|127\.0\.0\.1)?:(\d{1,5})(\/[^\s]*)?$/.exec(written);
  const port = Number(match?.[1] ?? 0);
  if (!match || port < 1 || port > 65_535) return mustBe(value, context, httpMust);
  return { type: ProbeType.http, port, path: match[2] ?? '/' };
};

const tcp: Read<Partial<Probe>> = (value, context) => {
  const match = value.kind === 'scalar' ? /^:?(\d{1,5})$/.exec(value.text ?? '') : null;
  const port = Number(match?.[1] ?? 0);
  return port >= 1 && port <= 65_535 ? { type: ProbeType.tcp, port } : mustBe(value, context, 'a port from 1 to 65535');
};

const exec: Read<Partial<Probe>> = (value, context) => {
  if (value.kind === 'scalar' && value.text) return { type: ProbeType.exec, command: ['/bin/sh', '-c', value.text] };
  const command = commandLine(value, context);
  if (command && command.length === 0) return mustBe(value, context, 'a command');
  return command && { type: ProbeType.exec, command };
};

const kinds = ['http', 'tcp', 'exec'] as const;
const probeTable = mapping({ http, tcp, exec, ...timing });

/** `x-gantry.readiness` and `x-gantry.health`: exactly one of http, tcp and exec; every second unless told otherwise. */
export const probe: Read<Probe> = (value, context) => {
  const fields = probeTable(value, context);
  if (!fields) return undefined;
  const given = kinds.filter((kind) => fields.has(kind));
  if (given.length !== 1) return oneKind(value, context, given);
  const what = fields.values[given[0]!];
  return what && timed(what, fields.values, second);
};

function oneKind(value: Value, context: Context, given: readonly string[]): undefined {
  const found = given.length === 0 ? 'none' : given.join(' and ');
  return mustHave(value, context, `one of http, tcp and exec, found ${found}`);
}
