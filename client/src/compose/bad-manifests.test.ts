import { Code, GantryError } from '@gantry/common';
import { expect, test } from 'vitest';
import { badManifests } from './bad-manifests.ts';
import { examineCompose, readCompose } from './compose.ts';

const files: Readonly<Record<string, string>> = { 'bad.env': 'A=1\nnonsense\n' };

const options = {
  file: 'compose.yaml',
  environment: { SET: 'value', EMPTY: '' },
  readFile: (path: string) => {
    const content = files[path];
    if (content === undefined) throw new GantryError(Code.notFound, 'there is no such file');
    return Buffer.from(content);
  },
};

test('there are at least 80 rows, each shown once', () => {
  expect(badManifests.length).toBeGreaterThanOrEqual(80);
  expect(new Set(badManifests.map(([shows]) => shows)).size).toBe(badManifests.length);
});

test.each(badManifests)('%s is refused at its place', (_shows, manifest, place, message) => {
  const { app, errors } = examineCompose(manifest, options);
  const found = errors.map((error) => `${error.details.line}:${error.details.column} ${error.message}`);
  expect(app).toBeUndefined();
  expect(
    found.filter((line) => line.startsWith(`${place} `) && line.includes(message)),
    found.join('\n'),
  ).toHaveLength(1);
  for (const error of errors) {
    expect(error).toMatchObject({ code: Code.invalidArgument, details: { file: 'compose.yaml' } });
    expect(error.message).toMatch(/^cannot \w+/);
    expect(error.message.length).toBeLessThan(400);
  }
});

test('the hint of an unknown key names the key that was meant', () => {
  const hintOf = (key: string) => examineCompose(`name: a\nservices: { web: { image: x, ${key}: y } }\n`, options).errors[0]?.details.hint;
  expect(hintOf('enviroment')).toBe('did you mean "environment"?');
  expect(hintOf('helthcheck')).toBe('did you mean "healthcheck"?');
  expect(hintOf('build')).toMatch(/build the image elsewhere/);
  expect(hintOf('zzzzzzzz')).toBeUndefined();
});

test('all errors are told, in the order of the text, at most 20', () => {
  const bad = (count: number) =>
    `name: A\nservices:\n  web:\n    image: x\n${Array.from({ length: count }, (_, index) => `    k${index}: 1\n`).join('')}`;
  expect(examineCompose(bad(3), options).errors.map((error) => error.details.line)).toEqual([1, 5, 6, 7]);
  expect(examineCompose(bad(50), options).errors).toHaveLength(20);
});

test('the throwing form throws the first error and carries all', () => {
  const failure = (() => {
    try {
      return readCompose('name: A\nservices: { web: { image: X } }\n', options);
    } catch (error) {
      return error;
    }
  })();
  expect(failure).toMatchObject({ code: Code.invalidArgument, details: { line: 1, column: 7 } });
  expect(((failure as GantryError).cause as AggregateError).errors).toHaveLength(2);
});

test('aliases that multiply are bounded in time', () => {
  let text = 'name: a\nservices: { web: { image: x } }\nx-0: &a0 [1,1,1,1,1,1,1,1,1,1]\n';
  for (let level = 1; level < 12; level++)
    text += `x-${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(',')}]\n`;
  const start = performance.now();
  const { errors } = examineCompose(text, options);
  expect(errors[0]?.message).toMatch(/at most 100000 values/);
  expect(performance.now() - start).toBeLessThan(2000);
});

test('any bytes are refused or read, never thrown over', () => {
  for (const bytes of [Buffer.from([0xff, 0xfe, 0x00]), Buffer.from([0xef, 0xbb, 0xbf]), Buffer.alloc(2 << 20, 0x41)]) {
    expect(examineCompose(bytes, options).errors.length).toBeGreaterThan(0);
  }
});
