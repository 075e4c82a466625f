/**
 * What the checks share: folders, programs, and the difference between a failed check and one whose tool is missing.
 *
 * Results are in `target/react-native-checks` of the repository and are reused by the next run.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the package. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const require = createRequire(import.meta.url);
export const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** A check cannot run, because this machine lacks a tool. */
export class Missing extends Error {}

/** A folder for results; emptied if `empty` is set. */
export function folder(name, { empty = false } = {}) {
  const path = join(root, '../target/react-native-checks', name);
  if (empty) rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  return path;
}

/** The function, with each argument called once. */
export function once(call) {
  const results = new Map();
  return (argument) => {
    if (!results.has(argument)) results.set(argument, call(argument));
    return results.get(argument);
  };
}

/** Whether the program is on the PATH. */
export function found(program) {
  return (process.env.PATH ?? '').split(delimiter).some((path) => existsSync(join(path, program)));
}

/** Throws {@link Missing} unless all programs are on the PATH. */
export function needs(...programs) {
  const missing = programs.filter((program) => !found(program));
  if (missing.length > 0) throw new Missing(`not on the PATH: ${missing.join(', ')}`);
}

/** Runs a program and returns its output; throws with the output if it fails. */
export function run(program, args, { cwd = root, env = {} } = {}) {
  const result = spawnSync(program, args, { cwd, env: { ...process.env, ...env }, encoding: 'utf8', maxBuffer: 1 << 26 });
  const output = `${result.stdout}${result.stderr}`;
  if (result.error !== undefined) throw result.error;
  if (result.status !== 0) throw new Error(`${program} failed:\n${output.slice(0, 4000)}`);
  return output;
}

/** Throws with the text unless the condition holds. */
export function claim(condition, text) {
  if (!condition) throw new Error(text);
}

/** Throws unless both values have the same JSON. */
export function same(actual, expected, what) {
  const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
  claim(a === e, `${what}: expected ${e}, got ${a}`);
}
