/** Checks with programs that use the packed packages: compiled against two versions of React Native and for Node, and run on Node. */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { install, module, run } from '../support.mjs';

const TSC = module('typescript/bin/tsc');

/**
 * An app in strict mode. The declarations of the packages are checked too; errors in those of other packages (TanStack DB needs the types of
 * browsers) are not counted.
 */
export async function types(packages, version) {
  const links = version === 'react-native' ? {} : { 'react-native': version };
  const folder = await install(packages, `consumer-${version}`, { from: 'consumers/react-native', links });
  const printed = await run(process.execPath, [TSC, '-p', '.', '--listFiles'], folder).catch(({ message }) => message);
  const used = printed.includes(`/node_modules/${version}/types`) && printed.includes('/@rejoin/react-native/lib/typescript/src/index.d.ts');
  if (!used) throw new Error(`the compiler has not read the types of ${version} and of the packages:\n${printed}`);
  const errors = printed.split('\n').filter((line) => /error TS\d+/.test(line) && !line.includes('react-native/node_modules/'));
  if (errors.length > 0) throw new Error(errors.join('\n'));
}

/** A program with the module resolution `node16`; it runs with the engine in the package, and says what is missing without one. */
export async function node(packages) {
  const folder = await install(packages, 'consumer-node', { from: 'consumers/node' });
  await run(process.execPath, [TSC, '-p', '.'], folder);
  const { REJOIN_NODE_RUNTIME: addon, REJOIN_LIBRARY_DIR: library, ...env } = process.env;
  const program = async (expected, environment) => {
    const printed = (await run(process.execPath, ['program.mjs'], folder, environment)).trim();
    if (!expected.test(printed)) throw new Error(`the program printed ${printed}, which does not match ${expected}`);
  };
  await program(/^read first$/, process.env);
  await program(/^Configuration: the package has no \S*rejoin_ffi\S* for .*REJOIN_LIBRARY_DIR is not set; build it/, env);
  await program(/^Configuration: REJOIN_LIBRARY_DIR leads to no file: .*; build it/, { ...env, REJOIN_LIBRARY_DIR: folder });
  const name = { darwin: 'librejoin_ffi.dylib', win32: 'rejoin_ffi.dll' }[process.platform] ?? 'librejoin_ffi.so';
  const prebuilt = join(folder, 'node_modules/@rejoin/react-native/prebuilt/node', `${process.platform}-${process.arch}`);
  mkdirSync(prebuilt, { recursive: true });
  copyFileSync(join(library, name), join(prebuilt, name));
  await program(/^Configuration: the package has no uniffi-runtime-napi.node for .*REJOIN_NODE_RUNTIME is not set; build it/, env);
  copyFileSync(addon, join(prebuilt, 'uniffi-runtime-napi.node'));
  await program(/^read first$/, env);
  await run(process.execPath, ['-e', "if (!require('@rejoin/react-native').RejoinClient) throw new Error('require found no RejoinClient')"], folder);
}
