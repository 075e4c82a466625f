/**
 * The files that React Native's codegen writes for `src/NativeRejoin.ts`, of the oldest and the newest supported version.
 *
 * The other checks compile the Java and Objective-C++ parts against these files, which compares names and types.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { claim, folder, manifest, once, require, root, run, same } from './tools.mjs';

/** npm names of the versions of React Native that are installed for the tests. */
export const versions = ['react-native-0.85', 'react-native'];

const config = { name: 'RejoinSpec', javaPackageName: 'dev.rejoin.reactnative', modulesProvider: { Rejoin: 'RejoinModule' } };

/** Generates the files of both systems, once, and returns their folder. */
export const generate = once((version) => {
  const into = folder(`codegen/${version}`, { empty: true });
  const reactNative = dirname(require.resolve(`${version}/package.json`));
  const codegen = dirname(require.resolve('@react-native/codegen/package.json', { paths: [reactNative] }));
  const schema = join(into, 'schema.json');
  const sources = join(root, manifest.codegenConfig.jsSrcsDir);
  run('node', [join(codegen, 'lib/cli/combine/combine-js-to-schema-cli.js'), schema, sources]);
  for (const platform of ['android', 'ios']) {
    const args = ['-p', platform, '-s', schema, '-o', join(into, platform), '-n', config.name, '-j', config.javaPackageName, '-t', 'modules'];
    run('node', [join(reactNative, 'scripts/generate-specs-cli.js'), ...args]);
  }
  return into;
});

/** package.json names what the native parts are called. */
function packageNamesTheParts() {
  const { name, android, ios } = manifest.codegenConfig ?? {};
  const named = { name, javaPackageName: android?.javaPackageName, modulesProvider: ios?.modulesProvider };
  same(named, config, 'codegenConfig of package.json');
}

function writesTheExpectedFiles(version) {
  const into = generate(version);
  const java = join(into, 'android/java/dev/rejoin/reactnative/NativeRejoinSpec.java');
  for (const file of [java, join(into, 'android/jni/CMakeLists.txt'), join(into, 'ios/RejoinSpec/RejoinSpec.h')]) {
    claim(existsSync(file), `codegen has not written ${file}`);
  }
  const methods = [...readFileSync(java, 'utf8').matchAll(/public abstract (.+);/g)].map(([, method]) => method);
  same(methods, ['boolean install()', 'String version()'], 'methods of NativeRejoinSpec');
  // A synchronous method runs on the JavaScript thread, which `install` needs.
  const synchronous = readFileSync(java, 'utf8').match(/isBlockingSynchronousMethod = true/g) ?? [];
  same(synchronous.length, 2, 'number of synchronous methods');
}

export const checks = [
  { name: 'codegen-config', check: packageNamesTheParts },
  ...versions.map((version) => ({ name: `codegen-${version}`, check: () => writesTheExpectedFiles(version) })),
];
