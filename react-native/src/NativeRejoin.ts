/**
 * The native module as React Native's codegen reads it: `NativeRejoinSpec` on both systems is generated from this file.
 *
 * The value is null in an app without the native part (Expo Go, an app that was not built again). `jsi.ts` turns that into an error with
 * its remedy. Codegen reads only this form: one interface `Spec`, and one call of the registry.
 */
import type { TurboModule } from 'react-native';
import { TurboModuleRegistry } from 'react-native';

export interface Spec extends TurboModule {
  /** Installs the engine's functions into the JavaScript runtime; false if the runtime is not available. Throws with a remedy in its message. */
  install(): boolean;
  /** The version of the package that the native part was built from. */
  version(): string;
}

export default TurboModuleRegistry.get<Spec>('Rejoin');
