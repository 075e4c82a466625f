/** Test configuration. The real engine runs in the test process, so each file gets its own process; two files run at a time. */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: {
    // For the app of examples/expo, which is outside of this folder.
    dedupe: ['react'],
    alias: {
      '@ubjs/node': fileURLToPath(new URL('./node/runtime.ts', import.meta.url)),
      // The hooks in `react/` are a package of their own; no package depends on its own workspace by name.
      '@rejoin/react-native': fileURLToPath(new URL('./node/index.ts', import.meta.url)),
      '@rejoin/react/inspector': fileURLToPath(new URL('./react/src/inspector/index.ts', import.meta.url)),
      '@rejoin/react': fileURLToPath(new URL('./react/src/index.ts', import.meta.url)),
      // The inspector of `react/` imports React Native, whose source no test runner but Metro's reads.
      'react-native': fileURLToPath(new URL('./react/test/support/react-native.tsx', import.meta.url)),
    },
  },
  test: {
    include: ['test/**/*.test.ts', '{react,drizzle,kysely,tanstack-db,example-expo}/test/**/*.test.{ts,tsx}'],
    setupFiles: ['./node/provide.ts'],
    pool: 'forks',
    // Lets leak tests collect garbage before they measure.
    execArgv: ['--expose-gc'],
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
