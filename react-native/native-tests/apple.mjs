/**
 * The Objective-C++ part, compiled for its types against React Native's own headers and the generated ones.
 *
 * Foundation and UIKit are stubs (`apple-stubs`), and zig has Apple's headers of C and C++ only. So the check finds wrong names, types
 * and protocols of React Native, and nothing else: nothing is linked or run, and CocoaPods and Xcode have no part in it.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { generate, versions } from './codegen.mjs';
import { claim, folder, found, Missing, require, root, run, same } from './tools.mjs';

/** Folders of React Native whose headers a pod has under another name. */
const headers = [
  ['React', 'React/Base'],
  ['React', 'React/CxxUtils'],
  ['ReactCommon', 'ReactCommon/react/nativemodule/core/platform/ios/ReactCommon'],
  ['ReactCommon', 'ReactCommon/react/nativemodule/core/ReactCommon'],
  ['ReactCommon', 'ReactCommon/callinvoker/ReactCommon'],
  ['RCTDeprecation', 'ReactApple/Libraries/RCTFoundation/RCTDeprecation/Exported'],
  ['RCTRequired', 'Libraries/Required'],
];

/** zig: on the PATH, or where xtask installs it. */
function zig() {
  if (found('zig')) return 'zig';
  const cache = join(homedir(), '.cache/rejoin');
  const installed = existsSync(cache) ? readdirSync(cache).map((name) => join(cache, name, 'ziglang/zig')) : [];
  const program = installed.find((path) => existsSync(path));
  if (program === undefined) throw new Missing('zig: put it on the PATH, or run `cargo xtask toolchain zig`');
  return program;
}

function headersOfPods(reactNative, version) {
  const into = folder(`apple/${version}/headers`, { empty: true });
  for (const [pod, place] of headers) {
    mkdirSync(join(into, pod), { recursive: true });
    for (const name of readdirSync(join(reactNative, place)).filter((name) => name.endsWith('.h'))) {
      copyFileSync(join(reactNative, place, name), join(into, pod, name));
    }
  }
  return into;
}

function compiles(version) {
  const compiler = zig();
  const reactNative = dirname(require.resolve(`${version}/package.json`));
  const common = join(reactNative, 'ReactCommon');
  const generated = join(generate(version), 'ios');
  const stubs = join(root, 'native-tests/apple-stubs');
  const shared = [common, join(common, 'jsi'), join(common, 'callinvoker')];
  const includes = [stubs, headersOfPods(reactNative, version), generated, join(root, 'cpp'), ...shared];
  const flags = ['-target', 'aarch64-macos', '-x', 'objective-c++', '-std=c++20', '-fobjc-arc', '-Wall', '-Werror', '-DREJOIN_VERSION=0.1.0-rc.1'];
  const result = join(folder(`apple/${version}`), 'RejoinModule.o');
  // Not -fsyntax-only: zig then looks for a result that clang does not write.
  run(compiler, ['c++', ...flags, ...includes.map((path) => `-I${path}`), '-c', join(root, 'ios/RejoinModule.mm'), '-o', result]);
  // React Native calls these methods if a module has them, so no compiler misses a misspelt one.
  for (const method of ['installJSIBindingsWithRuntime:callInvoker:', 'methodQueue']) {
    claim(readFileSync(result).includes(`-[RejoinModule ${method}]`), `RejoinModule.mm does not implement ${method}`);
  }
}

/** The podspec is Ruby without errors and warnings. Nothing in it is executed. */
async function podspecParses() {
  const { loadPrism } = await import('@ruby/prism').catch(() => {
    throw new Missing('the npm package @ruby/prism: run `npm install`');
  });
  const text = readFileSync(join(root, 'RejoinReactNative.podspec'), 'utf8');
  const { errors, warnings } = (await loadPrism())(text);
  same([...errors, ...warnings].map(({ message }) => message), [], 'problems of the podspec');
  // The name of the framework that xtask builds, and the lowest version of iOS that it supports.
  for (const part of ['s.vendored_frameworks = "ios/CRejoinFFI.xcframework"', 's.platform = :ios, "16.0"']) {
    claim(text.includes(part), `the podspec lacks ${part}`);
  }
}

export const checks = [
  ...versions.map((version) => ({ name: `objective-c++-${version}`, check: () => compiles(version) })),
  { name: 'podspec', check: podspecParses },
];
