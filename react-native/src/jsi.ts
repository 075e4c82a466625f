/**
 * The functions of the Rust library in React Native, which the native part of the package installs.
 *
 * Each way in which the native part can be missing is a ConfigurationError that says what to run.
 */
import { ConfigurationError } from './errors';
import type { NativeModule } from './native-module';

/** The module of `NativeRejoin.ts`, whose types need React Native. */
export interface NativePart {
  install(): boolean;
}

declare const require: (path: string) => unknown;

/** What tells the kinds of apps apart, and the global property that the native part sets. */
export interface AppGlobals {
  expo?: { modules?: { ExpoGo?: unknown } };
  RN$Bridgeless?: boolean;
  __turboModuleProxy?: unknown;
  NativeRejoinFfi?: NativeModule;
}

/** What to run if the native part has another version than the package. */
export const REBUILD = 'build the app again, after `pod install` on iOS; an update over the air must not change this package';

const OLD_BUILD = 'this build of the app was made before @rejoin/react-native was installed';

/** Why an app has no native part, and what to run. */
export function missing(app: AppGlobals): ConfigurationError {
  if (app.expo?.modules?.ExpoGo != null) {
    return new ConfigurationError(
      'Expo Go has no native part of Rejoin: make a development build with `npx expo run:ios` or `npx expo run:android`',
    );
  }
  if (app.RN$Bridgeless !== true && app.__turboModuleProxy == null) {
    return new ConfigurationError(
      "Rejoin needs React Native's new architecture, which this app turns off: remove `newArchEnabled=false` from " +
        'android/gradle.properties and `RCT_NEW_ARCH_ENABLED=0` from the call of `pod install`, then build the app again',
    );
  }
  const remedy =
    app.expo === undefined
      ? 'run `cd ios && pod install`, then build the app again'
      : 'run `npx expo prebuild`, then `npx expo run:ios` or `npx expo run:android`';
  return new ConfigurationError(`${OLD_BUILD}: ${remedy}`);
}

/** Installs the functions with the module that `find` returns. */
export function loadFrom(app: AppGlobals, find: () => NativePart | null | undefined): NativeModule {
  const native = attempt(find);
  if (native == null) throw missing(app);
  if (!attempt(() => native.install()) || app.NativeRejoinFfi === undefined) {
    throw new ConfigurationError('the JavaScript runtime of the app cannot be reached, which may be shutting down: reload the app');
  }
  // A plain object: in the native part's own, each access looks the name up in C++.
  return { ...app.NativeRejoinFfi };
}

/** The module is fetched here and not by an import, because on iOS that already installs the functions and can fail. */
export function load(): NativeModule {
  return loadFrom(globalThis as AppGlobals, () => (require('./NativeRejoin') as { default: NativePart | null }).default);
}

/** The native part's errors name their remedy. */
function attempt<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw new ConfigurationError(error instanceof Error ? error.message : String(error));
  }
}
