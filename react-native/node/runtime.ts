/**
 * What the generated bindings import as `@ubjs/node`: the addon by which Node loads a UniFFI library.
 *
 * Promise: finds the addon by `REJOIN_NODE_RUNTIME` (`cargo xtask toolchain ubrn` makes it) and the library by
 * `REJOIN_LIBRARY_DIR` (`cargo build -p rejoin-bindings` makes it), or says which of them is missing and how to get it.
 * Border: for tests, benches and Node programs in this repository. On a phone the bindings are a native module.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** A library that the addon has opened. */
interface NativeModule {
  register(definitions: object): object;
}

/** The one class of the addon. */
interface Addon {
  UniffiNativeModule: { open(path: string): NativeModule };
}

const plain = (tag: string) => ({ tag });

/** The types that cross, as the addon names them. */
const FfiType = {
  UInt8: plain('UInt8'),
  Int8: plain('Int8'),
  UInt16: plain('UInt16'),
  Int16: plain('Int16'),
  UInt32: plain('UInt32'),
  Int32: plain('Int32'),
  UInt64: plain('UInt64'),
  Int64: plain('Int64'),
  Float32: plain('Float32'),
  Float64: plain('Float64'),
  Handle: plain('Handle'),
  RustBuffer: plain('RustBuffer'),
  ForeignBytes: plain('ForeignBytes'),
  RustCallStatus: plain('RustCallStatus'),
  VoidPointer: plain('VoidPointer'),
  Void: plain('Void'),
  Callback: (name: string) => ({ tag: 'Callback', name }),
  Struct: (name: string) => ({ tag: 'Struct', name }),
  Reference: (inner: object) => ({ tag: 'Reference', inner }),
  MutReference: (inner: object) => ({ tag: 'MutReference', inner }),
};

function existing(variable: string, name: string, made: string): string {
  const set = process.env[variable];
  const path = set === undefined ? undefined : join(set, name);
  if (path === undefined || !existsSync(path)) {
    const what = path === undefined ? 'is not set' : `names no file: ${path}`;
    throw new Error(`${variable} ${what}; \`${made}\` makes it, \`cargo xtask test --only javascript\` sets it`);
  }
  return path;
}

function resolveLibPath({ crateName }: { crateName: string; callerUrl: string }): string {
  const [prefix, suffix] =
    process.platform === 'win32' ? ['', '.dll'] : ['lib', process.platform === 'darwin' ? '.dylib' : '.so'];
  return existing('REJOIN_LIBRARY_DIR', `${prefix}${crateName}${suffix}`, 'cargo build -p rejoin-bindings');
}

/** Loaded at the first use, so that a program that only decodes rows needs neither. */
const UniffiNativeModule = {
  open(path: string): NativeModule {
    const runtime = existing('REJOIN_NODE_RUNTIME', '', 'cargo xtask toolchain ubrn');
    const addon = createRequire(import.meta.url)(runtime) as Addon;
    return addon.UniffiNativeModule.open(path);
  },
};

export default { UniffiNativeModule, FfiType, resolveLibPath };
