/**
 * The Expo config plugin: what `npx expo prebuild` changes in an app with @rejoin/react-native.
 *
 * - iOS: the deployment target is at least 16.0, in the Podfile's properties and in the Xcode project.
 * - Android: `android.minSdkVersion`, where it is set, is at least 24, which is React Native's default.
 * - With `backgroundSync`: Info.plist permits the background task `dev.rejoin.sync`.
 *
 * Higher values of the app stay, and a second run changes nothing. Permissions and the privacy manifest are in the native libraries.
 * An app with the old architecture is rejected. Linking the native parts is left to autolinking.
 */
'use strict';

const { createRunOncePlugin, withGradleProperties, withInfoPlist, withPodfileProperties, withXcodeProject } = require('expo/config-plugins');
const manifest = require('../package.json');
const { checkOptions, RejoinPluginError } = require('./options.cjs');

/** The lowest supported versions: the major version of iOS, and the API level of Android. */
const IOS = 16;
const ANDROID = 24;

/** The identifier of the background task that `backgroundSync` permits. */
const TASK = 'dev.rejoin.sync';

/** @typedef {import('@expo/config-plugins').ExportedConfig} Config */

/** The app's version of iOS, or the lowest supported one if the app's is lower or missing. What is no number, such as a variable, stays.
 * @param {unknown} version */
function atLeast(version) {
  if (version === undefined) return `${IOS}.0`;
  return parseFloat(String(version)) < IOS ? `${IOS}.0` : String(version);
}

/** Throws if the app turns the new architecture off.
 * @param {unknown} enabled @param {string} where */
function requireNewArchitecture(enabled, where) {
  if (String(enabled) !== 'false') return;
  throw new RejoinPluginError(
    `@rejoin/react-native needs React Native's new architecture, which ${where} turns off. ` +
      'Remove `newArchEnabled` there, then run `npx expo prebuild --clean`.',
  );
}

/** @param {Config} config */
function withIos(config) {
  const withProperties = withPodfileProperties(config, (mod) => {
    requireNewArchitecture(mod.modResults.newArchEnabled, 'ios/Podfile.properties.json');
    mod.modResults['ios.deploymentTarget'] = atLeast(mod.modResults['ios.deploymentTarget']);
    return mod;
  });
  return withXcodeProject(withProperties, (mod) => {
    for (const { buildSettings } of Object.values(mod.modResults.pbxXCBuildConfigurationSection())) {
      // The settings of targets that have none are those of the project.
      if (buildSettings?.IPHONEOS_DEPLOYMENT_TARGET === undefined) continue;
      buildSettings.IPHONEOS_DEPLOYMENT_TARGET = atLeast(buildSettings.IPHONEOS_DEPLOYMENT_TARGET);
    }
    return mod;
  });
}

/** @param {Config} config */
function withAndroid(config) {
  return withGradleProperties(config, (mod) => {
    for (const property of mod.modResults) {
      if (property.type !== 'property') continue;
      if (property.key === 'newArchEnabled') requireNewArchitecture(property.value, 'android/gradle.properties');
      if (property.key === 'android.minSdkVersion' && Number(property.value) < ANDROID) property.value = String(ANDROID);
    }
    return mod;
  });
}

/** @param {Config} config */
function withBackgroundSync(config) {
  return withInfoPlist(config, (mod) => {
    const add = (/** @type {string} */ key, /** @type {string[]} */ values) => {
      const present = /** @type {string[]} */ (mod.modResults[key] ?? []);
      mod.modResults[key] = [...present, ...values.filter((value) => !present.includes(value))];
    };
    add('UIBackgroundModes', ['fetch', 'processing']);
    add('BGTaskSchedulerPermittedIdentifiers', [TASK]);
    return mod;
  });
}

/**
 * @param {Config} config
 * @param {unknown} options `{ backgroundSync?: boolean }`, default false.
 * @returns {Config}
 * @throws {RejoinPluginError} The options are wrong, or the app has the old architecture.
 */
function withRejoin(config, options) {
  const { backgroundSync } = checkOptions(options);
  for (const part of [config, config.ios, config.android]) {
    // Only older versions of Expo have it.
    const { newArchEnabled } = /** @type {{ newArchEnabled?: unknown }} */ (part ?? {});
    requireNewArchitecture(newArchEnabled, 'the app config');
  }
  const withBoth = withAndroid(withIos(config));
  return backgroundSync ? withBackgroundSync(withBoth) : withBoth;
}

module.exports = createRunOncePlugin(withRejoin, manifest.name, manifest.version);
