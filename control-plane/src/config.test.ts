import { Code, optionsHelp, readOptions } from '@gantry/common';
import { expect, test } from 'vitest';
import { hostOf, optionTable, variablePrefix } from './config.ts';

const read = (args: readonly string[], env: Record<string, string> = {}) =>
  readOptions({ table: optionTable, prefix: variablePrefix, args, env });

test('without options it is a control plane of this machine alone', () => {
  expect(read([])).toMatchObject({
    listen: ['127.0.0.1:7400'],
    httpListen: '127.0.0.1:7401',
    etcd: ['127.0.0.1:2379'],
    redis: '',
    clusterCidr: '10.64.0.0/12',
  });
});

test('lists, IPv6 and variables are read, and a flag goes before its variable', () => {
  const config = read(['--listen', '127.0.0.1:1,[::1]:2', '--id=cp1'], {
    GANTRY_CONTROL_PLANE_ID: 'other',
    GANTRY_CONTROL_PLANE_REDIS: 'redis:6379',
  });
  expect(config).toMatchObject({ listen: ['127.0.0.1:1', '[::1]:2'], id: 'cp1', redis: 'redis:6379' });
  expect(config.listen.map(hostOf)).toEqual(['127.0.0.1', '::1']);
});

test('what does not parse is refused with the name of the option', () => {
  const wrong = [
    ['--listen', 'localhost'],
    ['--listen', 'a:70000'],
    ['--etcd', 'http://x:1'],
    ['--cluster-cidr', '10.64.0.0/25'],
    ['--cluster-cidr', '10.64.0.1/12'],
    ['--id', 'A b'],
    ['--log-level', 'loud'],
    ['--strategy', 'random'],
    ['--nothing', 'x'],
  ];
  for (const args of wrong) expect(() => read(args), args.join(' ')).toThrow(expect.objectContaining({ code: Code.invalidArgument }));
});

test('every option is in the help with its variable', () => {
  const help = optionsHelp(optionTable, variablePrefix);
  expect(help.split('\n')).toHaveLength(Object.keys(optionTable).length);
  expect(help).toContain('GANTRY_CONTROL_PLANE_BOOTSTRAP_TOKEN_FILE');
});
