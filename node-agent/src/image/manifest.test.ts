import { Code } from '@gantry/common';
import { describe, expect, test } from 'vitest';
import { parseConfig } from './image-config.ts';
import { choosePlatform, type Index, parseManifest } from './manifest.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const oci = 'application/vnd.oci.image.manifest.v1+json';
const ociIndex = 'application/vnd.oci.image.index.v1+json';
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: 10 };
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: 20 };
const good = { schemaVersion: 2, config, layers: [layer] };
const index = { schemaVersion: 2, manifests: [{ mediaType: oci, digest, size: 1, platform: { os: 'linux', architecture: 'amd64' } }] };

const parse = (document: unknown, mediaType = '') =>
  parseManifest('web', { bytes: Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)), mediaType, digest });

describe('a manifest', () => {
  test('is read in OCI and in Docker form', () => {
    const read = {
      kind: 'manifest',
      config: { mediaType: config.mediaType, digest, sizeBytes: 10 },
      layers: [{ mediaType: layer.mediaType, digest, sizeBytes: 20, compression: 'gzip' }],
    };
    expect(parse(good)).toEqual(read);
    expect(parse({ ...good, mediaType: oci }, oci)).toEqual(read);
    const docker = {
      ...good,
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      config: { ...config, mediaType: 'application/vnd.docker.container.image.v1+json' },
      layers: [{ ...layer, mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip' }],
    };
    expect(parse(docker, docker.mediaType)).toMatchObject({ layers: [{ compression: 'gzip' }] });
    expect(parse(index, ociIndex)).toMatchObject({ kind: 'index', manifests: [{ os: 'linux', architecture: 'amd64', variant: '' }] });
  });

  const refused: [string, unknown, string?][] = [
    ['no JSON', 'hello'],
    ['not UTF-8 text', Buffer.from([0x7b, 0xff]).toString('latin1')],
    ['a list', []],
    ['null', 'null'],
    ['schema 1', { schemaVersion: 1, fsLayers: [] }, 'application/vnd.docker.distribution.manifest.v1+prettyjws'],
    ['another type than it is sent as', { ...good, mediaType: oci }, ociIndex],
    ['an index and a manifest at once', { ...good, ...index }],
    ['an index by type with layers in it', { ...index, layers: [] }, ociIndex],
    ['of an unknown type', { ...good, mediaType: 'application/x' }],
    ['with a type that is no text', { ...good, mediaType: 5 }],
    ['without layers', { schemaVersion: 2, config }],
    ['with 2,000 layers', { ...good, layers: Array.from({ length: 2000 }, () => layer) }],
    ['with a digest that is a path', { ...good, layers: [{ ...layer, digest: '../../../etc/passwd' }] }],
    ['with a digest that ends as a path', { ...good, layers: [{ ...layer, digest: `${digest}/../x` }] }],
    ['with a digest in capitals', { ...good, layers: [{ ...layer, digest: digest.toUpperCase() }] }],
    ['with another digest algorithm', { ...good, layers: [{ ...layer, digest: `sha512:${'a'.repeat(128)}` }] }],
    ['with a negative size', { ...good, layers: [{ ...layer, size: -1 }] }],
    ['with a size above 2^53', { ...good, layers: [{ ...layer, size: 2 ** 60 }] }],
    ['with a size that is text', { ...good, layers: [{ ...layer, size: '20' }] }],
    [
      'with a layer from elsewhere',
      { ...good, layers: [{ ...layer, mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' }] },
    ],
    ['with a layer of type __proto__', { ...good, layers: [{ ...layer, mediaType: '__proto__' }] }],
    ['with a config that is no image config', { ...good, config: { ...config, mediaType: 'application/vnd.cncf.helm.config.v1+json' } }],
    ['with a layer that is null', { ...good, layers: [null] }],
    ['an index with 2,000 entries', { ...index, manifests: Array.from({ length: 2000 }, () => index.manifests[0]) }, ociIndex],
  ];
  test.each(refused)('is refused when it is %s', (_what, document, mediaType) => {
    expect(() => parse(document, mediaType)).toThrow(expect.objectContaining({ code: Code.failedPrecondition }));
  });
});

describe('an index', () => {
  const entry = (os: string, architecture: string, variant = '') => ({ mediaType: oci, digest, sizeBytes: 1, os, architecture, variant });
  const of = (...manifests: Index['manifests']): Index => ({ kind: 'index', manifests });

  test('gives the manifest of this platform, the plain one before variants', () => {
    const plain = entry('linux', 'arm64');
    const choose = (list: Index) => choosePlatform('web', list, { os: 'linux', architecture: 'arm64' });
    expect(choose(of(entry('linux', 'amd64'), entry('linux', 'arm64', 'v9'), plain))).toBe(plain);
    expect(choose(of(entry('windows', 'arm64'), entry('linux', 'arm64', 'v8'))).variant).toBe('v8');
  });

  test('names the platforms that there are when there is none for this one', () => {
    expect(() => choosePlatform('web', of(entry('windows', 'amd64'), entry('', '')), { os: 'linux', architecture: 'amd64' })).toThrow(
      /linux\/amd64, found windows\/amd64, \?\/\?/,
    );
  });
});

describe('a config', () => {
  const parseC = (document: unknown) => parseConfig('web', Buffer.from(JSON.stringify(document)));

  test('gives what it says and nothing for what it does not', () => {
    const whole = {
      os: 'linux',
      architecture: 'amd64',
      config: {
        Entrypoint: ['/bin/web'],
        Cmd: null,
        Env: ['A=b'],
        WorkingDir: '/srv/../srv',
        User: '1000:1000',
        StopSignal: 'SIGQUIT',
        Labels: { a: 'b' },
        ExposedPorts: { '80/tcp': {} },
        Volumes: { '/data': {} },
      },
      rootfs: { diff_ids: [digest] },
    };
    expect(parseC(whole)).toEqual({
      diffIds: [digest],
      config: {
        entrypoint: ['/bin/web'],
        cmd: [],
        env: ['A=b'],
        workingDir: '/srv',
        user: '1000:1000',
        stopSignal: 'SIGQUIT',
        labels: { a: 'b' },
        exposedPorts: ['80/tcp'],
        volumes: ['/data'],
        architecture: 'amd64',
        os: 'linux',
      },
    });
    expect(parseC({}).config).toMatchObject({ entrypoint: [], workingDir: '', labels: {} });
  });

  test('brings a working directory that climbs back to the root', () => {
    expect(parseC({ config: { WorkingDir: '../../../proc/self/fd/7' } }).config.workingDir).toBe('/proc/self/fd/7');
    expect(parseC({ config: { WorkingDir: '/../..' } }).config.workingDir).toBe('/');
  });

  test.each([
    ['a diff id that is a path', { rootfs: { diff_ids: ['../x'] } }],
    ['an environment that is no list', { config: { Env: 'A=b' } }],
    ['an environment with a number', { config: { Env: [5] } }],
    ['NUL in a text', { config: { User: 'root\0' } }],
    ['labels that are no object', { config: { Labels: ['a'] } }],
    ['a label that is no text', { config: { Labels: { a: {} } } }],
    ['a million arguments', { config: { Cmd: Array.from({ length: 100_000 }, () => 'x') } }],
  ])('is refused for %s', (_what, document) => {
    expect(() => parseC(document)).toThrow(expect.objectContaining({ code: Code.failedPrecondition }));
  });

  test('takes a label named __proto__ for a label', () => {
    const { labels } = parseConfig('web', Buffer.from('{"config":{"Labels":{"__proto__":"x"}}}')).config;
    expect(Object.entries(labels)).toEqual([['__proto__', 'x']]);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });
});
