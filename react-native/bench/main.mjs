/**
 * Runs the benchmark in the way an app runs the package: bundled and in production mode.
 *
 * `REJOIN_LIBRARY_DIR` names the folder of the release library, `REJOIN_NODE_RUNTIME` the addon; `cargo xtask bench javascript`
 * sets both. Prints one line of JSON per figure.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

process.env.NODE_ENV = 'production';
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const folder = mkdtempSync(here('../node_modules/.bench-'));
const outfile = join(folder, 'bench.mjs');

try {
  await build({
    entryPoints: [here('program.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'es2022',
    alias: { '@ubjs/node': here('../node/runtime.ts'), '@rejoin/react-native': here('../node/index.ts') },
    external: ['happy-dom', 'react', 'react-dom'],
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'warning',
  });
  await import(pathToFileURL(outfile).href);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
