/**
 * The functions of the Rust library, which the generated bindings read from a global property. They are loaded at the first use, so that
 * importing the package needs no library.
 *
 * `jsi.ts` loads them in React Native, `node/module.ts` on Node; each provides the same names.
 */
import { ConfigurationError } from './errors';
import bindings from './generated/rejoin_ffi';

/** The functions by name. */
export type NativeModule = Record<string, unknown>;

/** Where the generated bindings read the functions. */
const NAME = 'NativeRejoinFfi';

const define = (property: PropertyDescriptor): unknown => Object.defineProperty(globalThis, NAME, { configurable: true, ...property });

/**
 * Uses the functions that `load` returns. What it throws is thrown by the call that needs the library, and the next call loads again.
 *
 * `remedy` ends the error for a library of another version: what to run.
 */
export function provide(load: () => NativeModule, remedy: string): void {
  // The native part writes the property itself; on iOS only once, so the value stays for the next attempt.
  const { value } = Object.getOwnPropertyDescriptor(globalThis, NAME) ?? {};
  define({
    get(): NativeModule {
      define({ value, writable: true });
      try {
        const loaded = load();
        define({ value: loaded });
        initialize(remedy);
        return loaded;
      } catch (error) {
        provide(load, remedy);
        throw error;
      }
    },
  });
}

/** Compares the versions of the library and of the bindings, and passes the callbacks to the library. */
function initialize(remedy: string): void {
  try {
    bindings.initialize();
  } catch (error) {
    throw new ConfigurationError(`the native library has another version than the package: ${remedy} (${String(error)})`);
  }
}
