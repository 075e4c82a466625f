/** The folders of the checks, programs that they run, and installations of the packed packages. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** The folder of the packages in the repository. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Where everything is built: `npm` in `REJOIN_TARGET_DIR`, or in the repository's `target`. */
export const OUT = join(process.env.REJOIN_TARGET_DIR ?? join(ROOT, '../target'), 'npm');
/** A file or a folder of the checks. */
export const here = (path) => fileURLToPath(new URL(path, import.meta.url));
/** A program of an installed package. */
export const module = (path) => join(ROOT, 'node_modules', path);

/** A program that uses everything that the packages export. */
export const ENTRIES = ['react-native', 'react', 'react/inspector', 'drizzle', 'kysely', 'tanstack-db']
  .map((entry, at) => `import * as p${at} from '@rejoin/${entry}'; globalThis.p${at} = p${at};`)
  .join('\n');

const execute = promisify(execFile);

/** Runs a program for at most two minutes and returns its output. If it fails, the error contains all that it printed. */
export async function run(program, args, cwd, env = process.env) {
  try {
    return (await execute(program, args, { cwd, env, timeout: 120_000, maxBuffer: 64 << 20 })).stdout;
  } catch (error) {
    const printed = `${error.stdout ?? ''}${error.stderr ?? ''}`.trim();
    throw new Error(`${[program, ...args].join(' ')} failed in ${cwd}:\n${printed === '' ? error.message : printed}`);
  }
}

/**
 * A new folder in `target/npm` with the packed packages, as npm installs them; other packages are those of this repository. `links` are
 * other versions of packages: the folder in `node_modules` by name.
 */
export async function install(packages, name, { from, links = {} } = {}) {
  const folder = join(OUT, name);
  rmSync(folder, { recursive: true, force: true });
  for (const { name: scoped, tarball } of packages) {
    const target = join(folder, 'node_modules/@rejoin', scoped);
    mkdirSync(target, { recursive: true });
    await run('tar', ['xzf', tarball, '--strip-components', '1', '-C', target], OUT);
  }
  for (const [link, target] of Object.entries(links)) symlinkSync(module(target), join(folder, 'node_modules', link));
  if (from !== undefined) cpSync(here(from), folder, { recursive: true });
  return folder;
}
