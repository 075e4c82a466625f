/**
 * Compiles the host with the native part of the package, and bundles programs for it. Objects are kept below `target/jsi`, by the hash of
 * what they are made of.
 */
import { createHash } from 'node:crypto';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { completed } from './JSCRuntime.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, '../..');
const TARGET = join(ROOT, 'target/jsi');
const CPP = join(HERE, '../cpp');
const MODULES = join(HERE, '../node_modules');
const COMMON = join(MODULES, 'react-native/ReactCommon');
const JSC = join(MODULES, '@react-native-community/javascriptcore/common');

/** What the compiler is given besides the file. */
const FLAGS = ['-std=c++20', '-O0', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Wno-unused-variable', '-Wno-return-type', '-Wno-missing-field-initializers'];
/** For the reloads: detects use of freed memory. */
export const SANITIZED = ['-fsanitize=address', '-fno-omit-frame-pointer', '-g1'];

const shell = (...words) => execFileSync(words[0], words.slice(1), { encoding: 'utf8' }).trim().split(/\s+/);

/** Compiles and links the host; `cpp` is the folder of the native part. Returns the path of the program. */
export async function program({ extra = [], cpp = CPP } = {}) {
  mkdirSync(TARGET, { recursive: true });
  const own = [join(cpp, 'generated/rejoin_ffi.cpp'), join(cpp, 'rejoin.cpp'), join(HERE, 'host.cpp')];
  const headers = [CPP, cpp, join(cpp, 'generated')].flatMap((folder) => readdirSync(folder).filter((name) => /\.h(pp)?$/.test(name)).map((name) => join(folder, name)));
  const runtime = join(TARGET, 'JSCRuntime.cpp');
  writeFileSync(runtime, completed(readFileSync(join(JSC, 'JSCRuntime.cpp'), 'utf8')));
  const versions = ['react-native', '@ubjs/core'].map((name) => join(MODULES, name, 'package.json'));
  const sources = [...own.map((source) => [source, headers]), [runtime, []], [join(COMMON, 'jsi/jsi/jsi.cpp'), []]];
  const include = [`-I${cpp}`, ...[COMMON, join(COMMON, 'jsi'), join(COMMON, 'callinvoker'), JSC, join(MODULES, '@ubjs/core/cpp/includes')].flatMap((folder) => ['-isystem', folder])];
  const flags = [...FLAGS, ...extra, ...include, ...shell('pkg-config', '--cflags', 'javascriptcoregtk-4.1').map((flag) => flag.replace(/^-I/, '-isystem'))];
  const made = [];
  const todo = sources.map(([source, uses]) => async () => {
    const hash = createHash('sha256').update(flags.join(' '));
    for (const file of [source, ...uses, ...versions]) hash.update(readFileSync(file));
    const object = join(TARGET, `${hash.digest('hex').slice(0, 24)}.o`);
    made.push(object);
    if (existsSync(object)) return;
    await succeeds('g++', [...flags, '-c', source, '-o', `${object}.part`]);
    renameSync(`${object}.part`, object);
  });
  const worker = async () => {
    for (let next; (next = todo.shift()); ) await next();
  };
  await Promise.all([worker(), worker()]);
  const library = process.env.REJOIN_LIBRARY_DIR ?? join(ROOT, 'target/debug');
  const name = createHash('sha256').update(made.sort().join()).update(library).digest('hex').slice(0, 24);
  const linked = join(TARGET, `host-${name}`);
  if (!existsSync(linked)) {
    const libraries = [`-L${library}`, '-lrejoin_ffi', `-Wl,-rpath,${library}`, ...shell('pkg-config', '--libs', 'javascriptcoregtk-4.1'), '-lpthread'];
    await succeeds('g++', [...extra, ...made, ...libraries, '-o', `${linked}.part`]);
    renameSync(`${linked}.part`, linked);
  }
  return linked;
}

/** Bundles a program; returns the path. */
export async function bundle(entry, contents) {
  const outfile = join(TARGET, `${entry}.js`);
  const inside = (name) => join(HERE, name);
  const plugin = {
    name: 'jsi',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^node:/ }, () => ({ path: inside('node.ts') }));
      onResolve({ filter: /^vitest$/ }, () => ({ path: inside('vitest.ts') }));
      onResolve({ filter: /\/NativeRejoin$/ }, () => ({ path: inside('native.ts') }));
      onResolve({ filter: /\/node\/index$/ }, () => ({ path: inside('package.ts') }));
      // Modules know their folder.
      onLoad({ filter: /react-native\/test\/.*\.ts$/ }, ({ path }) => ({
        contents: readFileSync(path, 'utf8').replaceAll('import.meta.url', JSON.stringify(`file://${path}`)),
        loader: 'ts',
      }));
    },
  };
  await build({
    stdin: { contents, resolveDir: HERE, loader: 'ts' },
    inject: [inside('prelude.ts')],
    bundle: true,
    platform: 'neutral',
    mainFields: ['module', 'main'],
    format: 'iife',
    target: 'es2022',
    outfile,
    plugins: [plugin],
    logLevel: 'error',
  });
  return outfile;
}

function succeeds(name, words) {
  return new Promise((resolve, reject) => {
    const child = spawn(name, words, { stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject);
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${name} ${words.at(-1)}: exit code ${code}`))));
  });
}
