/**
 * Builds the npm packages and checks the tarballs: contents, types, size, Hermes, Metro, jest and Node.
 *
 * Prints `ok NAME` or `FAILED NAME: reason` for each check; the exit code is 1 if one failed. Needs `REJOIN_NODE_RUNTIME` and
 * `REJOIN_LIBRARY_DIR`, no network and no device. Arguments select checks by a part of their name.
 */
import { availableParallelism } from 'node:os';
import { build } from './build.mjs';
import { globals, hermesc, installed, size } from './checks/bundle.mjs';
import { node, types } from './checks/consumers.mjs';
import { attw, files, lint } from './checks/contents.mjs';
import { decoders, has } from './checks/hermes.mjs';
import { jest } from './checks/jest.mjs';
import { metro } from './checks/metro.mjs';

const selected = process.argv.slice(2);
const began = Date.now();

/** Runs one check and prints its result; whether it passed. */
async function check(name, body) {
  try {
    const detail = await body();
    console.log(detail === undefined ? `ok ${name}` : `ok ${name}: ${detail}`);
    return true;
  } catch (error) {
    console.log(`FAILED ${name}: ${error.message}`);
    return false;
  }
}

for (const variable of ['REJOIN_NODE_RUNTIME', 'REJOIN_LIBRARY_DIR']) {
  if (!process.env[variable]) throw new Error(`${variable} is not set; \`cargo xtask test --only javascript\` sets it`);
}
const packages = await build();
const bundles = await installed(packages);
const checks = [
  ['jest', () => jest(packages)],
  ['metro', () => metro(packages)],
  ['hermes decoders', () => decoders(bundles)],
  ['node', () => node(packages)],
  ['types react-native 0.85', () => types(packages, 'react-native-0.85')],
  ['types react-native newest', () => types(packages, 'react-native')],
  ['size', () => size(bundles)],
  ['hermesc', () => hermesc(bundles)],
  ['globals', () => globals(bundles, (names) => has(bundles, names))],
  ...packages.flatMap((packed) => [
    [`files ${packed.name}`, () => files(packed)],
    [`publint ${packed.name}`, () => lint(packed)],
    [`attw ${packed.name}`, () => attw(packed)],
  ]),
];
const queue = selected.length === 0 ? checks : checks.filter(([name]) => selected.some((part) => name.includes(part)));
const results = [];
const lane = async () => {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) results.push(await check(...next));
};
await Promise.all(Array.from({ length: availableParallelism() }, lane));
const failed = results.filter((passed) => !passed).length;
console.log(`${results.length - failed} passed, ${failed} failed, ${Math.round((Date.now() - began) / 1000)} s`);
process.exitCode = failed === 0 ? 0 : 1;
