import { defineConfig } from 'vitest/config';

// oxlint-disable-next-line import/no-default-export -- what vitest reads
export default defineConfig({
  test: {
    include: ['{proto,common,control-plane,node-agent,client,deploy}/{src,gen}/**/*.test.ts'],
    pool: 'forks',
    // a loaded machine is slow: the limit only ends what hangs
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
