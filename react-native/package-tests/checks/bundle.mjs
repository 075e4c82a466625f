/** Checks of the JavaScript of an app: its size, whether Hermes compiles it, and the globals that it uses. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parse } from '@babel/parser';
import traverse from '@babel/traverse';
import { build } from 'esbuild';
import { ENTRIES, install, module, run } from '../support.mjs';

/** The limit for the client, minified and compressed: 60 KB. */
const LIMIT = 60_000;

/** An app that uses the client only. */
const CLIENT = "import { RejoinClient } from '@rejoin/react-native'; globalThis.client = RejoinClient;";

/** Where the bundles are made. */
export const installed = (packages) => install(packages, 'bundles');

/** Bundles `contents` as for React Native; the target is what the packages publish: nothing is lowered. */
export async function bundle(folder, contents, { minify = false, format = 'iife', external = ['react-native'] } = {}) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: folder },
    bundle: true,
    write: false,
    format,
    platform: 'neutral',
    target: 'esnext',
    conditions: ['react-native'],
    mainFields: ['module', 'main'],
    external,
    define: { 'process.env.NODE_ENV': '"production"' },
    minify,
    logLevel: 'error',
  });
  return outputFiles[0].text;
}

/** The client alone, as an app without other packages has it. */
export async function size(folder) {
  const text = await bundle(folder, CLIENT, { minify: true });
  const packed = gzipSync(text, { level: 9 }).length;
  const shown = `${(text.length / 1000).toFixed(1)} KB minified, ${(packed / 1000).toFixed(1)} KB with gzip; the limit is ${LIMIT / 1000} KB`;
  if (packed > LIMIT) throw new Error(shown);
  return shown;
}

/** The compilers of the oldest and the newest React Native accept what is published, also where no preset of Babel lowers it. */
export async function hermesc(folder) {
  const program = join('hermesc', { darwin: 'osx-bin', win32: 'win64-bin' }[process.platform] ?? 'linux64-bin', 'hermesc');
  const file = join(folder, 'all.js');
  const external = ['react-native', 'react', 'kysely', 'drizzle-orm', 'drizzle-orm/*', '@tanstack/db'];
  writeFileSync(file, await bundle(folder, ENTRIES, { external }));
  for (const compiler of ['react-native-0.85/node_modules/hermes-compiler', 'hermes-compiler']) {
    await run(module(join(compiler, program)), ['-O', '-emit-binary', '-out', join(folder, 'all.hbc'), file], folder);
  }
}

/** What React Native adds to Hermes. `TextEncoder` is in Hermes since React Native 0.74. */
const REACT_NATIVE = ['AbortController', 'TextEncoder', 'clearTimeout', 'console', 'setTimeout'];

/**
 * The global names in the bundles, against those that the old Hermes of `hermes-engine-cli` has. The client may also use those of React
 * Native, and others behind `typeof`. The decoders may not: they run for each cell.
 */
export async function globals(folder, has) {
  const decoders = ['row-buffer', 'text', 'json', 'value'].map((name) => `import './node_modules/@rejoin/react-native/lib/module/src/${name}.js';`);
  const uses = { client: await names(folder, CLIENT), decoders: await names(folder, decoders.join('\n')) };
  const lacks = async (list) => (await has(list)).flatMap((found, at) => (found ? [] : [list[at]]));
  const client = await lacks(uses.client.used);
  const unknown = client.filter((name) => !REACT_NATIVE.includes(name) && !uses.client.guarded.includes(name));
  if (unknown.length > 0) throw new Error(`the client uses ${unknown.join(', ')}, which React Native may lack; guard it with typeof`);
  const slow = await lacks(uses.decoders.used);
  if (slow.length > 0) throw new Error(`the decoders use ${slow.join(', ')}, which Hermes may lack`);
  return `the client uses ${uses.client.used.join(' ')}; this Hermes lacks ${client.join(' ')}`;
}

/** The names that a program does not declare, and those of them that it tests with `typeof`. */
async function names(folder, contents) {
  let used;
  const guarded = new Set();
  traverse.default(parse(await bundle(folder, contents, { format: 'esm' }), { sourceType: 'module' }), {
    Program: ({ scope }) => void (used = Object.keys(scope.globals).filter((name) => name !== 'arguments').sort()),
    UnaryExpression: ({ node }) => void (node.operator === 'typeof' && node.argument.type === 'Identifier' && guarded.add(node.argument.name)),
  });
  return { used, guarded: [...guarded] };
}
