/**
 * Runs the bench as an app runs the package: bundled, in production mode, with nothing that watches.
 *
 * `REJOIN_LIBRARY_DIR` names the folder of the library in release, `REJOIN_NODE_RUNTIME` the addon; `cargo xtask bench javascript`
 * sets both. Prints a line of JSON for each figure.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

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
    alias: { '@ubjs/node': here('../node/runtime.ts') },
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'warning',
  });
  await import(pathToFileURL(outfile).href);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
