/**
 * The Expo config plugin, applied to the project of `fixtures/expo` by Expo's own compiler of mods, as `npx expo prebuild` does.
 *
 * Each check has its own copy, in which the package is installed as npm installs it. The rest of `prebuild` and of Expo has no part in it.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { claim, folder, manifest, require, root, run, same } from './tools.mjs';

/** A project with the package. `expo` itself is not installed for the tests; its entry for plugins is this one line. */
function project(name) {
  const into = folder(`expo/${name}`, { empty: true });
  cpSync(join(root, 'native-tests/fixtures/expo'), into, { recursive: true });
  const own = join(into, 'node_modules', manifest.name);
  mkdirSync(own, { recursive: true });
  for (const part of ['app.plugin.js', 'plugin', 'package.json']) cpSync(join(root, part), join(own, part), { recursive: true });
  const expo = join(into, 'node_modules/expo');
  mkdirSync(expo);
  writeFileSync(join(expo, 'config-plugins.js'), `module.exports = require(${JSON.stringify(require.resolve('@expo/config-plugins'))});\n`);
  return into;
}

/** Applies the plugin, with what `change` does to the app config. */
async function prebuild(from, options, change = () => {}) {
  const { compileModsAsync, withPlugins } = require('@expo/config-plugins');
  const config = JSON.parse(readFileSync(join(from, 'app.json'), 'utf8')).expo;
  change(config);
  const withPlugin = withPlugins({ ...config, _internal: { projectRoot: from } }, [options === undefined ? manifest.name : [manifest.name, options]]);
  await compileModsAsync(withPlugin, { projectRoot: from, platforms: ['ios', 'android'] });
  return read(from);
}

/** What the plugin may change. */
function read(from) {
  const text = (path) => readFileSync(join(from, path), 'utf8');
  const plist = require('@expo/plist').default.parse(text('ios/Fixture/Info.plist'));
  return {
    podfile: JSON.parse(text('ios/Podfile.properties.json')),
    targets: [...text('ios/Fixture.xcodeproj/project.pbxproj').matchAll(/IPHONEOS_DEPLOYMENT_TARGET = (.*);/g)].map(([, version]) => version),
    gradle: text('android/gradle.properties').split('\n').filter((line) => line.includes('=')),
    modes: plist.UIBackgroundModes,
    tasks: plist.BGTaskSchedulerPermittedIdentifiers,
  };
}

/** The contents of all files of the native projects. */
function files(from) {
  const all = ['ios', 'android'].flatMap((part) => readdirSync(join(from, part), { recursive: true }).map((name) => join(from, part, name)));
  return all.filter((path) => statSync(path).isFile()).map((path) => [path, readFileSync(path, 'utf8')]);
}

const raised = {
  podfile: { 'expo.jsEngine': 'hermes', 'ios.deploymentTarget': '16.0' },
  targets: ['16.0', '17.0'],
  gradle: ['org.gradle.jvmargs=-Xmx2048m', 'android.minSdkVersion=24', 'newArchEnabled=true'],
  modes: ['audio', 'fetch'],
};

async function raisesVersions() {
  same(await prebuild(project('versions')), raised, 'native projects');
}

async function keepsHigherVersions() {
  const from = project('higher');
  writeFileSync(join(from, 'ios/Podfile.properties.json'), '{ "ios.deploymentTarget": "18.2" }');
  writeFileSync(join(from, 'android/gradle.properties'), 'android.minSdkVersion=29\n');
  const { podfile, gradle } = await prebuild(from);
  same([podfile, gradle], [{ 'ios.deploymentTarget': '18.2' }, ['android.minSdkVersion=29']], 'versions');
  writeFileSync(join(from, 'ios/Podfile.properties.json'), '{}');
  writeFileSync(join(from, 'android/gradle.properties'), '');
  const bare = await prebuild(from);
  same([bare.podfile, bare.gradle], [{ 'ios.deploymentTarget': '16.0' }, []], 'versions that were not set');
}

async function permitsBackgroundSync() {
  const expected = { ...raised, modes: ['audio', 'fetch', 'processing'], tasks: ['dev.rejoin.sync'] };
  same(await prebuild(project('background'), { backgroundSync: true }), expected, 'native projects');
  same(await prebuild(project('no-background'), { backgroundSync: false }), raised, 'native projects without it');
}

async function secondRunChangesNothing() {
  const from = project('twice');
  await prebuild(from, { backgroundSync: true });
  const first = files(from);
  await prebuild(from, { backgroundSync: true });
  same(files(from), first, 'files after the second run');
}

/** Each wrong input is an error of the plugin that names it. */
async function namesWhatIsWrong() {
  const write = (file, text) => (_, from) => writeFileSync(join(from, file), text);
  const [gradle, podfile] = ['android/gradle.properties', 'ios/Podfile.properties.json'];
  const wrong = [
    ['yes', undefined, 'must be an object'],
    [{ backgroundSync: 'yes' }, undefined, 'must be true or false'],
    [{ background: true, sync: 1 }, undefined, 'no option background, sync'],
    [undefined, (config) => (config.newArchEnabled = false), 'the app config turns off'],
    [undefined, (config) => (config.android.newArchEnabled = false), 'the app config turns off'],
    [undefined, write(gradle, 'newArchEnabled=false\n'), `${gradle} turns off`],
    [undefined, write(podfile, '{ "newArchEnabled": "false" }'), `${podfile} turns off`],
  ];
  for (const [index, [options, change, text]] of wrong.entries()) {
    const from = project(`wrong-${index}`);
    const error = await prebuild(from, options, (config) => change?.(config, from)).then(
      () => new Error('it was accepted'),
      (thrown) => thrown,
    );
    const fits = error.name === 'RejoinPluginError' && error.message.includes(text);
    claim(fits, `expected an error with "${text}", got ${error.name}: ${error.message}`);
  }
}

/** The plugin fits the types of Expo. */
function typesFit() {
  run('node', [join(dirname(require.resolve('typescript/package.json')), 'bin/tsc'), '-p', 'native-tests']);
}

export const checks = [
  { name: 'expo-types', check: typesFit },
  { name: 'expo-raises-versions', check: raisesVersions },
  { name: 'expo-keeps-higher-versions', check: keepsHigherVersions },
  { name: 'expo-background-sync', check: permitsBackgroundSync },
  { name: 'expo-second-run', check: secondRunChangesNothing },
  { name: 'expo-wrong-input', check: namesWhatIsWrong },
];
