/**
 * Builds the npm packages: each becomes a folder as it is published, and a tarball of that folder.
 *
 * The folders are `target/npm/<name>`, the tarballs are beside them. A release adds the native binaries to a folder (lines `release:` of
 * `files/<name>.txt`) and publishes it. builder-bob compiles. Against the sources, only two things change: `exports` of package.json leads to
 * `lib/` instead of the sources, and the generated definitions for Node import `@ubjs/node` as the file that it is an alias of. Nothing is
 * written outside `target/npm`, and nothing is downloaded.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build as bundle } from 'esbuild';
import { OUT, ROOT, run } from './support.mjs';

/** The packages: the folder of each in the repository. */
const SOURCES = Object.fromEntries(['react', 'drizzle', 'kysely', 'tanstack-db'].map((name) => [name, join(ROOT, name)]));

/** Builds all packages; returns each with its folder, its tarball and the packed paths. */
export async function build() {
  rmSync(OUT, { recursive: true, force: true });
  mkdirSync(OUT, { recursive: true });
  // The packages of npm, for all folders in `target/npm`.
  symlinkSync(join(ROOT, 'node_modules'), join(OUT, 'node_modules'));
  // The types of the others need those of the client.
  const client = await one('react-native', ROOT);
  return [client, ...(await Promise.all(Object.entries(SOURCES).map(([name, source]) => one(name, source))))];
}

async function one(name, source) {
  const folder = join(OUT, name);
  const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'));
  for (const path of (await pack(source, '--dry-run')).files) copy(join(source, path), join(folder, path));
  for (const license of ['LICENSE-APACHE', 'LICENSE-MIT']) copy(join(ROOT, '..', license), join(folder, license));
  const definitions = join(folder, 'node/generated/rejoin_ffi-ffi.ts');
  if (existsSync(definitions)) replace(definitions, '"@ubjs/node"', '"../runtime"');

  writeJson(join(folder, 'package.json'), { ...published(manifest), 'react-native-builder-bob': BOB });
  writeJson(join(folder, 'tsconfig.json'), types(source));
  await run(process.execPath, [join(ROOT, 'node_modules/react-native-builder-bob/bin/bob'), 'build'], folder);
  rmSync(join(folder, 'tsconfig.json'));
  // They repeat the `type` of the package, and hide it from its own files.
  for (const target of ['module', 'typescript']) rmSync(join(folder, 'lib', target, 'package.json'));
  if (name === 'react-native') {
    unchecked(join(folder, 'lib/typescript/src/generated/rejoin_ffi.d.ts'));
    await forJest(folder);
  }
  writeJson(join(folder, 'package.json'), published(manifest));
  const { filename, files } = await pack(folder, '--pack-destination', OUT);
  return { name, folder, tarball: join(OUT, filename), files };
}

/** `lib/` gets each module as JavaScript with the extension in each import, and its types. */
const BOB = {
  source: '.',
  output: 'lib',
  exclude: '{*.*,LICENSE-*,{lib,jest,android,ios,cpp,plugin,prebuilt}/**}',
  targets: [['module', { esm: true }], 'typescript'],
};

function types(source) {
  const paths = source === ROOT ? {} : { '@rejoin/react-native': ['../react-native/lib/typescript/src/index.d.ts'] };
  const compilerOptions = { noEmit: false, rootDir: '.', typeRoots: ['../node_modules/@types'], paths };
  return { extends: join(source, 'tsconfig.json'), compilerOptions, include: ['src', 'node'] };
}

/** package.json without what only this repository uses, and with the paths of the built modules. */
function published(manifest) {
  const { private: _, scripts, workspaces, devDependencies, overrides, ...rest } = manifest;
  const exports = Object.fromEntries(Object.entries(manifest.exports).map(([entry, paths]) => [entry, builtPaths(paths)]));
  return { ...rest, exports, files: ['LICENSE-*', 'lib', ...manifest.files] };
}

function builtPaths(paths) {
  if (typeof paths === 'string') return /\.tsx?$/.test(paths) ? builtPaths({ types: paths, default: paths }) : paths;
  const built = (key, path) => path.replace(/^\.\/(.*?)(?<!\.d)\.tsx?$/, key === 'types' ? './lib/typescript/$1.d.ts' : './lib/module/$1.js');
  return Object.fromEntries(Object.entries(paths).map(([key, path]) => [key, built(key, path)]));
}

/** The generated types use those of Node, which an app need not have: as in their source, the compiler reads them without a check. */
function unchecked(file) {
  writeFileSync(file, `// @ts-nocheck\n${readFileSync(file, 'utf8').replace(/^\/\/# sourceMappingURL.*$/m, '')}`);
  rmSync(`${file}.map`);
}

/** The package for Node as one CommonJS file, which jest loads without a transform. */
async function forJest(folder) {
  await bundle({
    entryPoints: [join(folder, 'lib/module/node/index.js')],
    outfile: join(folder, 'lib/jest.cjs'),
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    define: { 'import.meta.url': 'moduleUrl' },
    banner: { js: "const moduleUrl = require('node:url').pathToFileURL(__filename).href;" },
    logLevel: 'warning',
  });
}

/** What npm packs of a folder. */
async function pack(folder, ...options) {
  const [{ filename, files }] = JSON.parse(await run('npm', ['pack', '--json', '--ignore-scripts', '--offline', ...options], folder));
  return { filename, files: files.map(({ path }) => path).sort() };
}

function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}

function replace(file, old, value) {
  const text = readFileSync(file, 'utf8');
  if (!text.includes(old)) throw new Error(`${file} does not contain ${old}; change package-tests/build.mjs`);
  writeFileSync(file, text.replace(old, value));
}

function writeJson(file, value) {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { tarball, files } of await build()) console.log(`${tarball}: ${files.length} files`);
}
