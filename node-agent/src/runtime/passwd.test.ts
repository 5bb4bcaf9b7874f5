import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code } from '@gantry/common';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { resolveUser } from './passwd.ts';

let folder: string;
let layer: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gantry-agent-passwd-'));
  layer = join(folder, 'layer');
  mkdirSync(join(layer, 'etc'), { recursive: true });
  writeFileSync(
    join(layer, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nbroken line\napp:x:1000:1001::/home/app:\nwrap:x:4294967296:0::/:\n',
  );
  writeFileSync(join(layer, 'etc/group'), 'root:x:0:\nstaff:x:50:app,other\nlogs:x:60:other\n');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ['', { uid: 0, gid: 0, home: '/root' }],
  ['app', { uid: 1000, gid: 1001, home: '/home/app', additionalGids: [50] }],
  ['1000', { uid: 1000, gid: 1001, home: '/home/app', additionalGids: [50] }],
  ['app:staff', { uid: 1000, gid: 50, home: '/home/app' }],
  ['1234', { uid: 1234, gid: 0, home: '/' }],
  ['1234:77', { uid: 1234, gid: 77, home: '/' }],
  ['4294967294', { uid: 4_294_967_294, gid: 0, home: '/' }],
])('user "%s"', (text, expected) => {
  expect(resolveUser(text, [layer])).toEqual(expected);
});

test.each(['1x', '1x:0', '4294967295', '4294967296', '99999999999', 'a:b:c', '0:4294967295', '0:1x'])('user "%s" is refused', (text) => {
  expect(() => resolveUser(text, [layer])).toThrow(expect.objectContaining({ code: Code.invalidArgument }));
});

test.each(['nobody', 'wrap', 'app:nobody', '__proto__'])('user "%s" that the image does not have is refused', (text) => {
  expect(() => resolveUser(text, [layer])).toThrow(expect.objectContaining({ code: Code.failedPrecondition }));
});

test('the top-most layer that has the file counts', () => {
  const top = join(folder, 'top');
  mkdirSync(join(top, 'etc'), { recursive: true });
  expect(resolveUser('app', [top, layer])).toMatchObject({ uid: 1000 });
  writeFileSync(join(top, 'etc/passwd'), 'app:x:7:7::/:\n');
  expect(resolveUser('app', [top, layer])).toMatchObject({ uid: 7 });
});

test.skipIf(process.getuid?.() !== 0)('a file that an upper layer removed is not there', () => {
  const top = join(folder, 'top');
  mkdirSync(join(top, 'etc'), { recursive: true });
  execFileSync('mknod', [join(top, 'etc/passwd'), 'c', '0', '0']);
  expect(() => resolveUser('app', [top, layer])).toThrow(/passwd/);
});

test.each<[string, (path: string) => void]>([
  ['a FIFO', (path) => execFileSync('mkfifo', [path])],
  ['a symlink to the host', (path) => symlinkSync('/etc/passwd', path)],
  ['a folder', (path) => mkdirSync(path)],
  [
    '300 MB',
    (path) => {
      writeFileSync(path, '');
      truncateSync(path, 300 * 2 ** 20);
    },
  ],
])('a passwd file that is %s is refused at once', (_name, make) => {
  rmSync(join(layer, 'etc/passwd'));
  make(join(layer, 'etc/passwd'));
  expect(() => resolveUser('root', [layer])).toThrow('cannot read "/etc/passwd" of the image: must be a regular file');
});

test('an /etc that is a symlink to the host is not followed', () => {
  rmSync(join(layer, 'etc'), { recursive: true });
  symlinkSync('/etc', join(layer, 'etc'));
  expect(() => resolveUser('root', [layer])).toThrow('its folder /etc is not a folder');
});
