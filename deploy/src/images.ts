import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './process.ts';

/** An image made of Debian's static busybox and, optionally, a folder of files. */
export interface ImageSpec {
  /** Repository and tag, "gantry/web:1". */
  name: string;
  /** Copied to /www. */
  www?: string;
  /** The image's CMD. */
  command: readonly string[];
}

const busybox = '/bin/busybox';
const httpd = ['httpd', '-f', '-p', '8080', '-h', '/www'] as const;

/** The images of the demo; `demo` is the folder deploy/demo. */
export function demoImages(demo: string): ImageSpec[] {
  const tiers = ['web', 'app', 'data'].map((tier) => ({ name: `gantry/${tier}:1`, www: join(demo, tier), command: httpd }));
  return [{ name: 'gantry/busybox:1', command: ['sh'] }, ...tiers];
}

/** Builds images as an OCI layout below `folder` and pushes them; the first one is the base of the others. */
export async function publishImages(images: readonly ImageSpec[], folder: string, registry: string): Promise<void> {
  const layout = join(folder, 'layout');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  await run('umoci', ['init', '--layout', layout]);
  let base: string | undefined;
  for (const image of images) {
    const tag = image.name.replace(/^.*\//, '').replace(':', '-');
    await build(image, { layout, tag, folder, base });
    base ??= tag;
    const target = `docker://${registry}/${image.name}`;
    await run('skopeo', ['copy', '--quiet', '--insecure-policy', '--dest-tls-verify=false', `oci:${layout}:${tag}`, target]);
  }
}

interface Build {
  layout: string;
  tag: string;
  folder: string;
  base: string | undefined;
}

async function build(image: ImageSpec, { layout, tag, folder, base }: Build): Promise<void> {
  const bundle = join(folder, `bundle-${tag}`);
  if (base === undefined) await run('umoci', ['new', '--image', `${layout}:${tag}`]);
  else await run('umoci', ['tag', '--image', `${layout}:${base}`, tag]);
  await run('umoci', ['unpack', '--image', `${layout}:${tag}`, bundle]);
  const rootfs = join(bundle, 'rootfs');
  if (base === undefined) await installBusybox(rootfs);
  if (image.www !== undefined) cpSync(image.www, join(rootfs, 'www'), { recursive: true });
  await run('umoci', ['repack', '--image', `${layout}:${tag}`, bundle]);
  const command = image.command.flatMap((word) => ['--config.cmd', word]);
  await run('umoci', ['config', '--image', `${layout}:${tag}`, '--clear=config.cmd', ...command, '--config.env', 'PATH=/bin']);
}

async function installBusybox(rootfs: string): Promise<void> {
  for (const folder of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'data', 'root']) mkdirSync(join(rootfs, folder), { recursive: true });
  chmodSync(join(rootfs, 'tmp'), 0o1777);
  copyFileSync(busybox, join(rootfs, 'bin/busybox'));
  chmodSync(join(rootfs, 'bin/busybox'), 0o755);
  for (const applet of (await run(busybox, ['--list'])).split('\n').filter(Boolean)) {
    if (applet !== 'busybox' && !existsSync(join(rootfs, 'bin', applet))) symlinkSync('busybox', join(rootfs, 'bin', applet));
  }
  writeFileSync(
    join(rootfs, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\nwww:x:1000:1000:www:/:/bin/sh\n',
  );
  writeFileSync(join(rootfs, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\nwww:x:1000:\n');
}
