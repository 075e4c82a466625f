/** How the tests run: the real engine in this process, so each file has a process of its own. Two run at a time: most of them wait. */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: {
    alias: { '@ubjs/node': fileURLToPath(new URL('./node/runtime.ts', import.meta.url)) },
  },
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // So that a test of what is left behind counts no garbage.
    execArgv: ['--expose-gc'],
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
