/**
 * What R8 leaves of the Android part with the rules of the package and of React Native, in its full mode.
 *
 * The result is read, not run. Classes of Android and of React Native are libraries to R8, as far as the part names them.
 */
import { readdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { archives, compiled, newest, react } from './android.mjs';
import { claim, folder, needs, root, run } from './tools.mjs';

/** An app refers to the package only, as autolinking does. */
const APP = '-keep class dev.rejoin.reactnative.RejoinPackage { public *; }\n-dontwarn **\n';

function keepsWhatIsCalledByName() {
  needs('java', 'jar', 'javap');
  const [classes] = compiled(newest);
  const into = folder('r8', { empty: true });
  const [app, input, output] = ['app.pro', 'input.jar', 'output.jar'].map((name) => join(into, name));
  writeFileSync(app, APP);
  const part = 'dev/rejoin/reactnative';
  const names = readdirSync(join(classes, part)).filter((name) => name.endsWith('.class'));
  run('jar', ['cf', input, ...names.flatMap((name) => ['-C', classes, `${part}/${name}`])]);
  const jar = (start) => join(archives(), readdirSync(archives()).find((name) => name.startsWith(start) && name.endsWith('.jar')) ?? start);
  const home = /java\.home = (.*)/.exec(run('java', ['-XshowSettings:properties', '-version']))?.[1] ?? '';
  const libraries = [home, join(react(newest), 'classes.jar'), jar('kotlin-stdlib-'), jar('proguard-annotations-')];
  const rules = [app, join(react(newest), 'proguard.txt'), join(root, 'android/consumer-rules.pro')];
  const flags = [...libraries.flatMap((path) => ['--lib', path]), ...rules.flatMap((path) => ['--pg-conf', path])];
  run('java', ['-cp', jar('r8-'), 'com.android.tools.r8.R8', '--classfile', '--release', '--output', output, ...flags, input]);
  const classPath = [output, join(react(newest), 'classes.jar')].join(delimiter);
  const left = run('javap', ['-p', '-cp', classPath, ...['RejoinNative', 'RejoinModule'].map((name) => `dev.rejoin.reactnative.${name}`)]);
  // Those that librejoin-jsi.so implements, and those that React Native calls.
  for (const method of ['native void install(', 'native void invalidate(', 'boolean install()', 'String version()', 'void invalidate()']) {
    claim(left.includes(method), `R8 has removed or renamed "${method}"; left is:\n${left}`);
  }
}

export const checks = [{ name: 'r8', check: keepsWhatIsCalledByName }];
