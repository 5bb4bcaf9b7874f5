import { Code } from '@gantry/common';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatReference, parseReference } from './reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;

describe('an image reference', () => {
  test.each([
    ['nginx', 'docker.io/library/nginx:latest'],
    ['nginx:1.27', 'docker.io/library/nginx:1.27'],
    ['team/web', 'docker.io/team/web:latest'],
    ['docker.io/nginx', 'docker.io/library/nginx:latest'],
    ['index.docker.io/team/web:v1', 'docker.io/team/web:v1'],
    ['localhost/web', 'localhost/web:latest'],
    ['localhost:5000/web:v1', 'localhost:5000/web:v1'],
    ['127.0.0.1:5000/a/b/c:v1', '127.0.0.1:5000/a/b/c:v1'],
    ['[::1]:5000/web', '[::1]:5000/web:latest'],
    ['Registry.Example.com/web', 'registry.example.com/web:latest'],
    [`nginx@${digest}`, `docker.io/library/nginx@${digest}`],
    [`nginx:1.27@${digest}`, `docker.io/library/nginx:1.27@${digest}`],
    ['a__b/c-d/e.f:A_b-c.1', 'docker.io/a__b/c-d/e.f:A_b-c.1'],
  ])('%s is %s', (text, whole) => {
    expect(formatReference(parseReference(text))).toBe(whole);
  });

  test.each([
    '',
    ':tag',
    'Nginx',
    'nginx:',
    'nginx:.tag',
    `nginx:${'t'.repeat(129)}`,
    'nginx@sha256:abc',
    `nginx@sha256:${'A'.repeat(64)}`,
    `nginx@sha512:${'a'.repeat(128)}`,
    `nginx@../../${digest}`,
    'a//b',
    '../nginx',
    'reg.io/../nginx',
    'reg.io/a/./b',
    'reg.io:port/web',
    'user:pw@reg.io/web',
    'reg io/web',
    'reg.io/web\n',
    'reg.io/w\0eb',
    'https://reg.io/web',
    `reg.io/${'a'.repeat(300)}`,
    'x'.repeat(5000),
  ])('%j is refused', (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code: Code.invalidArgument }));
  });

  test('reads back as it is written, whatever it was', () => {
    const part = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?$/);
    const host = fc.constantFrom('', 'localhost/', 'localhost:5000/', 'r.example.com/', '10.0.0.1:80/');
    const tail = fc.constantFrom('', ':v1', `@${digest}`, `:v1@${digest}`);
    fc.assert(
      fc.property(host, fc.array(part, { minLength: 1, maxLength: 3 }), tail, (registry, parts, end) => {
        const once = parseReference(`${registry}${parts.join('/')}${end}`);
        expect(parseReference(formatReference(once))).toEqual(once);
      }),
    );
  });
});
