/**
 * The Android part, compiled against React Native's published archives: Java with javac, C++ with g++ and React Native's own headers.
 *
 * The order of calls of the module runs on a JVM with fake native methods. CMakeLists.txt builds the library for this machine, with an
 * engine of one function; undefined symbols stay undefined. Gradle, the NDK and Android's own runtime have no part in it.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { generate, versions as installed } from './codegen.mjs';
import { claim, folder, needs, once, root, run, same } from './tools.mjs';

/** The oldest supported version of React Native, and the newest on Maven: those of pom.xml. */
export const [oldest, newest] = ['0.85.3', '0.87.1'];

const checked = join(root, 'native-tests/android');
const sources = join(root, 'android/src/main/java/dev/rejoin/reactnative');

const under = (path) => readdirSync(path, { recursive: true }).filter((name) => name.endsWith('.java')).map((name) => join(path, name));

/** The archives that pom.xml lists. */
export const archives = once(() => {
  needs('mvn', 'javac', 'jar');
  const into = folder('maven');
  run('mvn', ['-q', '-B', '-f', join(checked, 'pom.xml'), 'dependency:copy', `-Dinto=${into}`]);
  return into;
});

/** Extracts parts of an AAR, and returns where. An earlier run may have done so. */
function unpacked(file, ...parts) {
  const into = join(archives(), file.replace('.aar', ''));
  const done = join(into, 'done');
  if (!existsSync(done) || readFileSync(done, 'utf8') !== parts.join()) {
    mkdirSync(into, { recursive: true });
    run('jar', ['xf', join(archives(), file), ...parts], { cwd: into });
    writeFileSync(done, parts.join());
  }
  return into;
}

export const react = (version) =>
  unpacked(`react-android-${version}-release.aar`, 'classes.jar', 'proguard.txt', 'prefab/modules/reactnative/include', 'prefab/modules/jsi/include');
const fbjni = () => unpacked('fbjni-0.7.0.aar', 'classes.jar', 'prefab/modules/fbjni/include');

/** Compiles Java, with every warning an error. */
function javac(files, classPath, into) {
  const flags = ['--release', '17', '-proc:none', '-Xlint:all,-classfile,-options', '-Werror', '-d', into, '-h', into];
  run('javac', [...flags, '-cp', classPath.join(delimiter), ...files]);
}

/** Compiles the module against a version of React Native; returns the class path. */
export const compiled = once((version) => {
  const classPath = [react(version), fbjni()].map((aar) => join(aar, 'classes.jar'));
  for (const name of readdirSync(archives())) if (name.endsWith('.jar') && !name.startsWith('r8-')) classPath.push(join(archives(), name));
  const into = folder(`java/${version}`, { empty: true });
  const config = join(into, 'BuildConfig.java');
  writeFileSync(config, 'package dev.rejoin.reactnative;\n\nfinal class BuildConfig {\n  static final String REJOIN_VERSION = "1.2.3";\n}\n');
  const spec = under(join(generate(version === oldest ? installed[0] : installed[1]), 'android/java'));
  javac([config, ...under(sources), ...spec], classPath, into);
  return [into, ...classPath];
});

function callsAreInOrder() {
  const classPath = compiled(newest);
  const into = folder('java/test', { empty: true });
  const files = [...under(join(checked, 'fake')), ...under(join(checked, 'test'))];
  run('javac', ['-nowarn', '-proc:none', '-d', into, '-cp', classPath.join(delimiter), ...files]);
  run('java', ['-cp', [into, ...classPath].join(delimiter), 'dev.rejoin.reactnative.RejoinModuleTest']);
}

/** A copy of the package as npm installs it, with an engine of one function for one ABI. The engine has no SONAME. */
function installedPackage(abi) {
  const into = folder(`package-${abi}`);
  for (const name of ['android', 'cpp']) cpSync(join(root, name), join(into, name), { recursive: true, preserveTimestamps: true });
  const engine = join(into, 'android/src/main/jniLibs', abi);
  mkdirSync(engine, { recursive: true });
  const code = join(into, 'engine.c'); // A linker may leave out a library without a function that is used.
  writeFileSync(code, 'void uniffi_rejoin_ffi_fn_func_detach_all(void) {}\n');
  run('g++', ['-shared', '-nostdlib', '-x', 'c', code, '-o', join(engine, 'librejoin_ffi.so')]);
  return into;
}

/** A CMake package as Android's Gradle plugin makes it from an AAR, with the headers only. */
function cmakePackage(name, include, targets, into) {
  const lines = targets.map((target) => `add_library(${name}::${target} INTERFACE IMPORTED)
set_target_properties(${name}::${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${include(target)}")
`);
  writeFileSync(join(into, `${name}Config.cmake`), lines.join(''));
}

/** Configures CMakeLists.txt of the package for this machine, as if it were the ABI. */
function configure(from, abi, version, into) {
  cmakePackage('ReactAndroid', (target) => join(react(version), `prefab/modules/${target}/include`), ['reactnative', 'jsi'], into);
  cmakePackage('fbjni', () => join(fbjni(), 'prefab/modules/fbjni/include'), ['fbjni'], into);
  const home = dirname(dirname(realpathSync(run('which', ['javac']).trim())));
  const flags = `-O0 -I${join(home, 'include')} -I${join(home, 'include/linux')}`;
  const set = { ANDROID_ABI: abi, ReactAndroid_DIR: into, fbjni_DIR: into, CMAKE_CXX_FLAGS: flags, CMAKE_CXX_COMPILER: 'g++' };
  run('cmake', ['-S', join(from, 'android'), '-B', into, ...Object.entries(set).map(([name, value]) => `-D${name}=${value}`)]);
}

function cmakeBuilds(version) {
  needs('cmake', 'g++', 'readelf', 'nm');
  const from = installedPackage('some-abi');
  if (!existsSync(join(from, 'node_modules'))) symlinkSync(join(root, 'node_modules'), join(from, 'node_modules'));
  const into = folder(`cmake/${version}`);
  configure(from, 'some-abi', version, into);
  run('cmake', ['--build', into, '--parallel', '2']);
  const library = join(into, 'librejoin-jsi.so');
  const segments = [...run('readelf', ['-lW', library]).matchAll(/^ +LOAD .* (0x[0-9a-f]+)$/gm)].map(([, alignment]) => Number(alignment));
  claim(segments.length > 0 && segments.every((alignment) => alignment >= 0x4000), `alignment of the segments: ${segments.join(', ')}`);
  claim(run('readelf', ['-dW', library]).includes('[librejoin_ffi.so]'), 'the library does not need librejoin_ffi.so by its name');
  const header = readFileSync(join(compiled(version)[0], 'dev_rejoin_reactnative_RejoinNative.h'), 'utf8');
  const declared = [...header.matchAll(/JNICALL (\w+)/g)].map(([, name]) => name);
  same(declared.length, 2, 'number of native methods');
  const defined = run('nm', ['-D', '--defined-only', library]);
  for (const name of declared) claim(defined.includes(` T ${name}\n`), `cpp-adapter.cpp does not define ${name}`);
}

/** CMake names what the package lacks, and the remedy. */
function cmakeNamesWhatIsMissing() {
  needs('cmake', 'g++');
  const from = installedPackage('other-abi'); // Without node_modules.
  for (const [abi, text] of [['none', 'has no engine for the ABI'], ['other-abi', 'cannot find its dependency @ubjs/core']]) {
    let failure = '';
    try {
      configure(from, abi, newest, folder(`cmake/${abi}`, { empty: true }));
    } catch (error) {
      failure = error.message.replace(/\s+/g, ' ');
    }
    claim(failure.includes(text), `CMake does not say that the package ${text}: ${failure}`);
  }
}

export const checks = [
  ...[oldest, newest].map((version) => ({ name: `java-${version}`, check: () => void compiled(version) })),
  { name: 'java-calls', check: callsAreInOrder },
  ...[oldest, newest].map((version) => ({ name: `cmake-${version}`, check: () => cmakeBuilds(version) })),
  { name: 'cmake-missing', check: cmakeNamesWhatIsMissing },
];
