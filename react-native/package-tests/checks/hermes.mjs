/**
 * Runs the packed decoders in the virtual machine of Hermes. The one of npm, 0.12, is older than those of React Native: it has neither classes
 * nor the globals of later versions, so what passes here needs nothing that a later Hermes may lack.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { transformAsync } from '@babel/core';
import { build } from 'esbuild';
import { here, module, ROOT, run } from '../support.mjs';

const HERMES = module(join('hermes-engine-cli', { darwin: 'osx-bin', win32: 'win64-bin' }[process.platform] ?? 'linux64-bin', 'hermes'));

/** What the parser of 0.12 rejects or compiles wrongly. */
const LOWERED = ['class-static-block', 'private-methods', 'private-property-in-object', 'class-properties', 'classes', 'block-scoping'];

/** Whether Hermes has each of these global names. */
export async function has(folder, names) {
  const file = join(folder, 'has.js');
  writeFileSync(file, `print(JSON.stringify(${JSON.stringify(names)}.map(function (name) { return name in globalThis; })));`);
  return JSON.parse(await run(HERMES, [file], folder));
}

/** The decoders return on Hermes what they return on Node, with the test vectors and with damaged ones. */
export async function decoders(folder) {
  const program = join(folder, 'decoders.js');
  const { code } = await transformAsync(await bundled(folder), {
    cwd: ROOT,
    babelrc: false,
    configFile: false,
    compact: false,
    plugins: LOWERED.map((name) => `@babel/plugin-transform-${name}`),
  });
  writeFileSync(program, code);
  const results = async (engine) => (await run(engine, [program], folder)).trim().split('\n');
  const [node, hermes] = await Promise.all([results(process.execPath), results(HERMES)]);
  const at = node.findIndex((line, number) => line !== hermes[number]);
  if (at >= 0 || node.length !== hermes.length) throw new Error(`Node printed ${node[at]}, Hermes ${hermes[at]}`);
  return `${node.length} results`;
}

/** Prints the name and the bytes of each vector but the largest: Hermes interprets. */
const VECTORS = `
  import { damages, readable } from './test/support/vectors.ts';
  const shown = (list) => list.filter(({ bytes }) => bytes.length < 100_000).map(({ name, bytes }) => [name, Buffer.from(bytes).toString('hex')]);
  process.stdout.write(JSON.stringify([shown(readable), shown(damages)]));
`;

async function bundled(folder) {
  const [readable, damaged] = JSON.parse(await run(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', VECTORS], ROOT));
  if (readable.length === 0 || damaged.length === 0) throw new Error('there are no vectors');
  const vectors = join(folder, 'vectors.js');
  writeFileSync(vectors, `export const readable = ${JSON.stringify(readable)};\nexport const damaged = ${JSON.stringify(damaged)};\n`);
  const { outputFiles } = await build({
    entryPoints: [here('hermes/program.js')],
    bundle: true,
    write: false,
    format: 'iife',
    platform: 'neutral',
    target: 'es2022',
    alias: { rejoin: join(folder, 'node_modules/@rejoin/react-native/lib/module/src'), vectors },
    logLevel: 'error',
  });
  return outputFiles[0].text;
}
