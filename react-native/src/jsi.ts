/**
 * The functions of the Rust library in React Native, which the native part of the package installs.
 *
 * Throws a ConfigurationError that says what to run if the app has no native part.
 */
import { ConfigurationError } from './errors';
import type { NativeModule } from './native-module';
import native from './NativeRejoin';

/** The global property that the native part sets: an object of C++ that looks each function up by its name. */
declare const globalThis: { NativeRejoinFfi?: NativeModule };

export function load(): NativeModule {
  if (native === null || native === undefined) throw new ConfigurationError('the app has no native part of @rejoin/react-native');
  native.install();
  const installed = globalThis.NativeRejoinFfi;
  if (installed === undefined) throw new ConfigurationError('the native part of @rejoin/react-native has installed nothing');
  // A plain object, in which a lookup costs less.
  return { ...installed };
}
