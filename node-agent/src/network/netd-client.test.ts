import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, ManualClock, silentLogger, systemClock } from '@gantry/common';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NetdClient } from './netd-client.ts';

let folder = '';
let clients: NetdClient[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'netd-client-test-'));
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  clients = [];
  rmSync(folder, { recursive: true, force: true });
});

/** A helper written in the shell: `$id` and `$op` are the request's. */
function helper(body: string): string {
  const path = join(folder, 'helper.sh');
  const read = `while read -r line; do id=\${line##*'"id":'}; id=\${id%%,*}; op=\${line##*'"op":"'}; op=\${op%%'"'*}`;
  writeFileSync(path, `#!/bin/sh\n${read}\n${body}\ndone\n`);
  chmodSync(path, 0o755);
  return path;
}

function client(binary: string, options: { timeoutMs?: number; maxPending?: number; clock?: ManualClock } = {}): NetdClient {
  const made = new NetdClient({ binary, log: silentLogger(), clock: systemClock, ...options });
  clients.push(made);
  return made;
}

const echo = `echo "{\\"id\\":$id,\\"ok\\":true,\\"op\\":\\"$op\\"}"`;

test('replies find their requests', async () => {
  const netd = client(helper(echo));
  const replies = await Promise.all(['a', 'b', 'c'].map((operation) => netd.request(operation, { x: 1 })));
  expect(replies).toEqual([{ op: 'a' }, { op: 'b' }, { op: 'c' }]);
  expect(netd.pending).toBe(0);
});

test('a refusal is an error with the helper’s words and a code by errno', async () => {
  const netd = client(helper(`echo "{\\"id\\":$id,\\"ok\\":false,\\"error\\":\\"no such bridge\\",\\"errno\\":19}"`));
  await expect(netd.request('attach', {})).rejects.toMatchObject({ code: Code.notFound, message: 'no such bridge' });
});

test('what was asked of a helper that dies fails as unavailable, and the next request starts another', async () => {
  const netd = client(helper(`if [ $op = die ]; then exit 3; fi; ${echo}`));
  await netd.request('a', {});
  const former = netd.pid;
  const waiting = [netd.request('die', {}), netd.request('late', {})];
  for (const request of waiting) await expect(request).rejects.toMatchObject({ code: Code.unavailable, retryable: true });
  expect(await netd.request('b', {})).toEqual({ op: 'b' });
  expect(netd.pid).not.toBe(former);
});

test('a helper that does not answer is killed after the time-out', async () => {
  const clock = new ManualClock();
  const netd = client(helper(`if [ $op != mute ]; then ${echo}; fi`), { clock, timeoutMs: 500 });
  await netd.request('a', {});
  const { pid } = netd;
  const muted = netd.request('mute', {});
  const settled = expect(muted).rejects.toMatchObject({ code: Code.unavailable });
  await clock.advance(500);
  await settled;
  await expect.poll(() => isAlive(pid)).toBe(false);
  expect(await netd.request('b', {})).toEqual({ op: 'b' });
});

function isAlive(pid: number | undefined): boolean {
  try {
    return process.kill(pid ?? 0, 0);
  } catch {
    return false;
  }
}

test('more requests than may wait are refused', async () => {
  const netd = client(helper(echo), { maxPending: 2 });
  const first = [netd.request('a', {}), netd.request('b', {})];
  await expect(netd.request('c', {})).rejects.toMatchObject({ code: Code.resourceExhausted });
  await Promise.all(first);
});

test('a missing helper is an error, and a closed client refuses', async () => {
  const netd = client(join(folder, 'none'));
  await expect(netd.request('a', {})).rejects.toMatchObject({ code: Code.unavailable });
  await netd.close();
  await expect(netd.request('a', {})).rejects.toMatchObject({ code: Code.cancelled });
});
